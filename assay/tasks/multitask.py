"""Several targets in one job: classes, numbers and masks of the same rows, learned together and answered together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.multitask.targets import KIND
from assay.tasks._supervised import Supervised

if TYPE_CHECKING:
    import numpy as np

    from assay.data.table import Table
    from assay.model.deliver import Built, Source
    from assay.model.manifest import Manifest
    from assay.spec import JobSpec, ProfileFacts, Resolved
    from assay.tasks import TaskType
    from assay.tasks._problem import Problem
    from assay.training.evaluate import Evaluation, Matrices, Request


PICTURES = "pictures"


class MultiTask(Supervised):
    """`task.targets` names the columns; each is classes or numbers by its type, and may miss labels.

    Three forms, by what the data hold and by the families that are named: `table`, `texts` and `pictures`; each family
    says by `form` which one it reads (a table where it says nothing).
    """

    name = "multitask"
    about = (
        "predict several targets at once, from rows that may miss some of the labels: classes and numbers of tables and "
        "texts, classes and masks of pictures"
    )
    kinds: tuple[str, ...] = (KIND,)

    def default_metric(self, kind: str) -> str:
        return "multitask_score"

    def resolve(self, spec: JobSpec, profile: ProfileFacts) -> Resolved:
        from assay.tasks._multitask_forms import resolve

        return resolve(spec, profile, self.default_metric(KIND))

    def prepare(self, table: Table, resolved: Resolved) -> Problem:
        from assay.tasks._multitask_forms import prepare

        return prepare(table, resolved)

    def warnings(self, table: Table, resolved: Resolved) -> list[dict[str, Any]]:
        from assay.data.profile import about_target

        if form_of(resolved) == PICTURES:
            return []
        found = []
        for target in resolved.options["targets"]:
            shown = table.select([target["name"], *resolved.features])
            found += [w.to_json() for w in about_target(shown, target["name"], target["kind"])]
        return found

    def evaluate(self, matrices: Matrices, request: Request) -> Evaluation:
        """As for one target, with the metrics of each beside the score of all."""
        import numpy as np

        from assay.model import checkpoint
        from assay.multitask.report import questions, values
        from assay.training.evaluate import evaluate

        problem = matrices.problem
        if form_of(problem.resolved) == PICTURES:
            from assay.multitask.picture_trial import evaluate as over_pictures

            return over_pictures(matrices, request)
        found = evaluate(matrices, request)
        rows = problem.folds.covered
        weight = None if problem.weight is None else problem.weight[rows]
        answers = checkpoint.load(request.path).array("oof").astype(np.float64)
        return replace(found, metrics=values(problem.y[rows], answers[rows], weight, questions(problem, rows)))

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

        if form_of(problem.resolved) == PICTURES:
            from assay.multitask.picture_deliver import deliver as over_pictures

            return over_pictures(problem, sources, folder, ensemble=ensemble, info=info, formats=formats)
        return deliver(problem, sources, folder, ensemble=ensemble, info=info, formats=formats, seconds=seconds)

    def beside(self, table: Table, manifest: Manifest) -> dict[str, np.ndarray]:
        """The sizes of pictures, which masks are answered in."""
        if not any("side" in t for t in manifest.info["targets"]):
            return {}
        from assay.vision.truth import sizes_of

        return sizes_of(table)

    def answers(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> list[dict[str, Any]]:
        from assay.multitask.answers import answers

        return answers(outputs, manifest.info["targets"])

    def csv(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> Iterator[list[str]]:
        from assay.multitask.answers import csv_rows

        return csv_rows(outputs, manifest.info["targets"])


def form_of(resolved: Resolved) -> str:
    return str(resolved.options.get("form", "table"))


task: TaskType = MultiTask()
