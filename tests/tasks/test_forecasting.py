"""What a forecasting job is resolved to, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from assay.data.profile import profile
from assay.data.table import ColumnType, Table, Words
from assay.errors import DataError, SpecError
from assay.spec import Budget, JobSpec, Resolved, TaskSpec, resolve
from assay.tasks import discover


def monthly(values: list[float] | Words, start: str = "2020-01") -> Table:
    stamps = np.datetime64(start) + np.arange(len(values.codes if isinstance(values, Words) else values))
    y = values if isinstance(values, Words) else np.array(values, float)
    kind = ColumnType.CONSTANT if isinstance(values, Words) else ColumnType.NUMBER
    return Table({"m": Words.of([f"{s}-01 00:00:00" for s in stamps]), "y": y}, {"m": ColumnType.DATETIME, "y": kind})


def resolved(table: Table, **task: Any) -> Resolved:
    spec = JobSpec(TaskSpec("forecasting", **{"target": "y", "time_column": "m", **task}), limits=Budget(trials=1))
    return resolve(spec, profile(table))


def test_a_short_series_gets_a_shorter_horizon_unless_one_is_asked_for() -> None:
    short = monthly([float(v) for v in range(12)])
    assert resolved(short).options["horizon"] == 2
    assert resolved(short, horizon=5).options["horizon"] == 5
    assert resolved(monthly([float(v) for v in range(90)])).options["horizon"] == 12


def test_twelve_values_are_enough_for_a_horizon_of_six_and_not_for_seven() -> None:
    short = monthly([float(v) for v in range(12)])
    problem = discover()["forecasting"].prepare(short, resolved(short, horizon=6))
    assert len(problem.folds) == 1
    with pytest.raises(DataError, match="at least 13"):
        discover()["forecasting"].prepare(short, resolved(short, horizon=7))


def test_a_series_of_one_number_is_a_series() -> None:
    table = monthly(Words.of(["5"] * 40))
    problem = discover()["forecasting"].prepare(table, resolved(table, horizon=3))
    assert problem.y.tolist() == [5.0] * 40


def test_families_that_need_many_values_are_left_out_of_few() -> None:
    assert "nhits" not in resolved(monthly([1.0, 2.0] * 30)).families
    assert "nhits" in resolved(monthly([1.0, 2.0] * 90)).families


def test_what_is_good_on_any_series_is_tried_before_what_is_cheap() -> None:
    for n in (40, 200, 2000):
        first = resolved(monthly([float(v % 7) for v in range(n)], "1700-01"), horizon=3).families[:5]
        assert first[0] == "seasonal_naive" and set(first[1:]) == {"theta", "ets", "arima", "ces"}


def test_a_target_without_a_value_is_told_as_that() -> None:
    columns = {"m": Words.of([f"2001-{i + 1:02d}-01" for i in range(12)]), "y": Words.of([None] * 12)}
    table = Table(columns, {"m": ColumnType.DATETIME, "y": ColumnType.CONSTANT})
    with pytest.raises(SpecError, match="'y' has no value in any row"):
        resolve(JobSpec(TaskSpec("forecasting", target="y", time_column="m")), profile(table))
