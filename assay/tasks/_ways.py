"""One task type, several kinds that go their own ways: which way is asked of the kind that the job resolved to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from assay.errors import SpecError
from assay.tasks._supervised import Supervised

if TYPE_CHECKING:
    import numpy as np

    from assay.data.table import Table
    from assay.model.deliver import Built, Source
    from assay.model.manifest import Manifest
    from assay.spec import JobSpec, Resolved
    from assay.tasks import TaskType
    from assay.tasks._problem import Problem
    from assay.training.evaluate import Evaluation, Matrices, Request


def only_one(task: TaskType, spec: JobSpec, kind: str) -> None:
    """Raises SpecError where several targets are named of a task type that has no such kind."""
    if kind not in task.kinds:
        raise SpecError(f"{task.name} predicts one column; name it in task.target", pointer="/task/targets")


class ByKind(Supervised):
    """Base of task types some of whose kinds are trained, delivered and answered otherwise."""

    ways: ClassVar[Mapping[str, Supervised]] = {}

    def evaluate(self, matrices: Matrices, request: Request) -> Evaluation:
        way = self.ways.get(matrices.problem.resolved.kind)
        return super().evaluate(matrices, request) if way is None else way.evaluate(matrices, request)

    def deliver(
        self,
        problem: Problem,
        sources: Sequence[Source],
        folder: Path,
        *,
        ensemble: bool,
        info: Mapping[str, Any],
        formats: Mapping[str, Mapping[str, Any]],
        seconds: float,
    ) -> Built:
        way = self.ways.get(problem.resolved.kind)
        deliver = super().deliver if way is None else way.deliver
        return deliver(problem, sources, folder, ensemble=ensemble, info=info, formats=formats, seconds=seconds)

    def warnings(self, table: Table, resolved: Resolved) -> list[dict[str, Any]]:
        way = self.ways.get(resolved.kind)
        return super().warnings(table, resolved) if way is None else way.warnings(table, resolved)

    def answers(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> list[dict[str, Any]]:
        way = self.ways.get(manifest.kind)
        return super().answers(outputs, manifest) if way is None else way.answers(outputs, manifest)

    def csv(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> Iterator[list[str]]:
        way = self.ways.get(manifest.kind)
        return super().csv(outputs, manifest) if way is None else way.csv(outputs, manifest)
