"""Clustering: groups of rows found without a target, and the group of new rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.metrics.clustering import KIND
from assay.tasks._clustering import prepare, resolve

if TYPE_CHECKING:
    import numpy as np

    from assay.data.table import Table
    from assay.model.deliver import Built, Source
    from assay.model.manifest import Manifest
    from assay.spec import JobSpec, ProfileFacts, Resolved
    from assay.tasks import TaskType
    from assay.tasks._problem import Problem
    from assay.training.evaluate import Evaluation, Matrices, Request


class Clustering:
    """`task.target` may name a column with the true groups: it is reported against, and hidden from everything else."""

    name = "clustering"
    about = "find groups of rows without a target, and the group of new rows; -1 is noise"
    kinds: tuple[str, ...] = (KIND,)

    def default_metric(self, kind: str) -> str:
        return "clustering_quality"

    def resolve(self, spec: JobSpec, profile: ProfileFacts) -> Resolved:
        return resolve(spec, profile, self.default_metric(KIND))

    def prepare(self, table: Table, resolved: Resolved) -> Problem:
        return prepare(table, resolved)

    def warnings(self, table: Table, resolved: Resolved) -> list[dict[str, Any]]:
        return []

    def evaluate(self, matrices: Matrices, request: Request) -> Evaluation:
        from assay.clustering.evaluate import evaluate

        return evaluate(matrices, request)

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
        from assay.clustering.deliver import deliver

        return deliver(problem, sources, folder, info, formats, ensemble)

    def answers(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> list[dict[str, Any]]:
        pairs = zip(outputs["label"].tolist(), outputs["distance"][:, 0].tolist(), strict=True)
        return [{"value": label, "distance": distance} for label, distance in pairs]

    def csv(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> Iterator[list[str]]:
        yield ["prediction", "distance"]
        pairs = zip(outputs["label"].tolist(), outputs["distance"][:, 0].tolist(), strict=True)
        yield from ([str(label), repr(distance)] for label, distance in pairs)


task: TaskType = Clustering()
