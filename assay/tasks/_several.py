"""What kinds with several targets share: the metrics of each target, one graph with an output for each, answers by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.tasks._supervised import Supervised

if TYPE_CHECKING:
    import numpy as np

    from assay.data.table import Table
    from assay.model.deliver import Built, Source
    from assay.model.manifest import Manifest
    from assay.spec import Resolved
    from assay.tasks._problem import Problem
    from assay.training.evaluate import Evaluation, Matrices, Request


class SeveralTargets(Supervised):
    """Families that know one target alone are fitted to each by itself."""

    def warnings(self, table: Table, resolved: Resolved) -> list[dict[str, Any]]:
        from assay.data.profile import about_target

        found = []
        for target in resolved.options["targets"]:
            shown = table.select([target["name"], *resolved.features])
            found += [w.to_json() for w in about_target(shown, target["name"], target["kind"])]
        return found

    def evaluate(self, matrices: Matrices, request: Request) -> Evaluation:
        """As for one target, with the metrics of each beside the score of all."""
        import numpy as np

        from assay.model import checkpoint
        from assay.multitask.each import each
        from assay.multitask.report import values
        from assay.training.evaluate import evaluate

        found = evaluate(matrices, replace(request, family=each(request.family)))
        problem = matrices.problem
        rows = problem.folds.covered
        weight = None if problem.weight is None else problem.weight[rows]
        answers = checkpoint.load(request.path).array("oof").astype(np.float64)
        return replace(found, metrics=values(problem.y[rows], answers[rows], weight, None, problem.resolved.kind))

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
        from assay.multitask.deliver import deliver

        return deliver(problem, sources, folder, ensemble=ensemble, info=info, formats=formats, seconds=seconds)

    def answers(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> list[dict[str, Any]]:
        from assay.multitask.answers import answers

        return answers(outputs, manifest.info["targets"])

    def csv(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> Iterator[list[str]]:
        from assay.multitask.answers import csv_rows

        return csv_rows(outputs, manifest.info["targets"])
