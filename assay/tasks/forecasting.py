"""Forecasting: the next values of one or many series, with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.tasks._forecasting import resolve

if TYPE_CHECKING:
    import numpy as np

    from assay.data.table import Table
    from assay.model.deliver import Built, Source
    from assay.model.explain import Explanation
    from assay.model.manifest import Manifest
    from assay.model.predict import Model
    from assay.spec import JobSpec, ProfileFacts, Resolved
    from assay.tasks import TaskType
    from assay.tasks._problem import Problem
    from assay.training.evaluate import Evaluation, Matrices, Request


class Forecasting:
    """Series in long form (`group_column`) or wide form (`targets`), ordered by `time_column`."""

    name = "forecasting"
    about = "forecast the next values of one or many series, with intervals"
    kinds: tuple[str, ...] = ("forecasting",)

    def default_metric(self, kind: str) -> str:
        return "mase"

    def resolve(self, spec: JobSpec, profile: ProfileFacts) -> Resolved:
        return resolve(spec, profile)

    def prepare(self, table: Table, resolved: Resolved) -> Problem:
        from assay.forecasting.problem import prepare

        return prepare(table, resolved)

    def warnings(self, table: Table, resolved: Resolved) -> list[dict[str, Any]]:
        return []

    def evaluate(self, matrices: Matrices, request: Request) -> Evaluation:
        from assay.forecasting.evaluate import evaluate

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
        from assay.forecasting.deliver import deliver
        from assay.forecasting.problem import ForecastProblem

        assert isinstance(problem, ForecastProblem)
        told = replace(
            problem, resolved=replace(problem.resolved, options={**problem.resolved.options, "formats": dict(formats)})
        )
        return deliver(told, sources, folder, ensemble=ensemble, info=info, seconds=seconds)

    def run(self, model: Model, table: Table) -> dict[str, np.ndarray]:
        """The forecast after the history in a table; after the training data when it has no rows."""
        from assay.forecasting.serve import forecast

        def infer(inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
            value, quantiles = model.raw(["value", "quantiles"], inputs)
            return value, quantiles

        return forecast(table, model.manifest.info["forecasting"], infer)

    def explain(self, model: Model, table: Table) -> list[Explanation]:
        """Which of its last values made the forecast of every series, and where the model attends."""
        from assay.forecasting.explain import explain

        def infer(wanted: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            return list(model.raw(wanted, inputs))

        attends = "attention_steps" in model.manifest.outputs
        return explain(table, model.manifest.info["forecasting"], attends, infer)

    def answers(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> list[dict[str, Any]]:
        from assay.forecasting.serve import answers

        return answers(outputs, manifest.info["forecasting"])

    def csv(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> Iterator[list[str]]:
        from assay.forecasting.serve import csv_lines

        return csv_lines(outputs, manifest.info["forecasting"])


task: TaskType = Forecasting()
