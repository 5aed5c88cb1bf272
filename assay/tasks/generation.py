"""Generation: learn what rows or pictures look like and draw new ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.errors import DataError
from assay.tasks._generation import IMAGES, ROWS, prepare, resolve

if TYPE_CHECKING:
    import numpy as np

    from assay.data.table import Table
    from assay.model.deliver import Built, Source
    from assay.model.manifest import Manifest
    from assay.spec import JobSpec, ProfileFacts, Resolved
    from assay.tasks import TaskType
    from assay.tasks._problem import Problem
    from assay.training.evaluate import Evaluation, Matrices, Request


class Generation:
    """Rows of a table, or small pictures, with `task.target` as the column that samples can be asked for by."""

    name = "generation"
    about = "draw new rows or pictures that look like the data, by condition if asked"
    kinds: tuple[str, ...] = (ROWS, IMAGES)

    def default_metric(self, kind: str) -> str:
        return "fidelity" if kind == ROWS else "two_sample"

    def resolve(self, spec: JobSpec, profile: ProfileFacts) -> Resolved:
        return resolve(spec, profile)

    def prepare(self, table: Table, resolved: Resolved) -> Problem:
        return prepare(table, resolved)

    def warnings(self, table: Table, resolved: Resolved) -> list[dict[str, Any]]:
        return []

    def evaluate(self, matrices: Matrices, request: Request) -> Evaluation:
        from assay.generation.evaluate import evaluate

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
        from assay.generation.deliver import deliver

        return deliver(problem, sources, folder, info, seconds, ensemble)

    def answers(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> list[dict[str, Any]]:
        raise DataError("a generator draws samples and predicts nothing; use generate", code="validation_error")

    def csv(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> Iterator[list[str]]:
        raise DataError("a generator draws samples and predicts nothing; use generate", code="validation_error")


task: TaskType = Generation()
