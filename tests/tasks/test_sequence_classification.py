from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import assay
from assay.data.profile import profile
from assay.data.table import ColumnType, Table, Words
from assay.errors import DataError, SpecError
from assay.spec import Budget, JobSpec, TaskSpec, resolve
from assay.tasks import discover
from assay.testing.toy_series import toy_series, wide_table

TASK = "sequence_classification"


def spec(**task: Any) -> JobSpec:
    return JobSpec(TaskSpec(TASK, **{"target": "kind", **task}), limits=Budget(trials=1))


def points(n: int = 30, seed: int = 0, class_of: str = "kind") -> Table:
    """Long form: two channels, series of 20 to 32 points, shuffled."""
    x, y = toy_series(3, n, n_channels=2, seed=seed)
    rng = np.random.default_rng(seed)
    at = [(i, t) for i in range(n) for t in range(int(rng.integers(20, 33)))]
    rng.shuffle(at)
    series, step = np.array(at).T
    columns = {
        "id": Words.of([f"s{i}" for i in series]),
        "t": step.astype(float),
        "a": x[series, 0, step],
        "b": x[series, 1, step],
        class_of: Words.of([f"class {y[i]}" for i in series]),
    }
    types = [ColumnType.CATEGORY, ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.NUMBER, ColumnType.CATEGORY]
    return Table(columns, dict(zip(columns, types, strict=True)))


def test_wide_rows_keep_all_numeric_columns_in_order_and_say_what_is_left_out() -> None:
    x, y = toy_series(3, 40)
    table = wide_table(x[:, 0], y)
    columns = {**table.columns, "place": Words.of(["here", "there"] * 20), "t3": Words.of(["5"] * 40)}
    table = Table(columns, {**table.types, "place": ColumnType.CATEGORY, "t3": ColumnType.CONSTANT})
    resolved = resolve(spec(), profile(table))
    assert resolved.features == tuple(f"t{i}" for i in range(32)), "a step with one value is a step all the same"
    assert any(c == "place" and "numbers" in why for c, why in resolved.left_out)
    problem = discover()[TASK].prepare(table, resolved)
    assert (problem.features.numbers("t3") == 5).all()


def test_a_table_without_steps_is_told_of_the_long_form() -> None:
    table = Table(
        {"x": np.arange(30.0), "kind": Words.of(["a", "b"] * 15)},
        {"x": ColumnType.NUMBER, "kind": ColumnType.CATEGORY},
    )
    with pytest.raises(SpecError, match=r"task\.group_column"):
        resolve(spec(), profile(table))


def test_long_form_counts_series_and_never_splits_them() -> None:
    table = points()
    resolved = resolve(spec(group_column="id", time_column="t"), profile(table))
    assert (resolved.features, resolved.n_rows, resolved.method) == (("a", "b"), 30, "cv")
    problem = discover()[TASK].prepare(table, resolved)
    assert len(problem.y) == 30 == len(problem.features)
    assert problem.features.numbers("a").shape == (30, 32)
    assert [f["role"] for f in problem.fields] == ["group", "time"]


def test_a_target_that_changes_within_a_series_is_refused_with_the_row() -> None:
    table = points()
    kinds = table.words("kind").values().copy()
    kinds[200] = "class 0" if kinds[200] != "class 0" else "class 1"
    bad = Table({**table.columns, "kind": Words.of(kinds)}, table.types)
    resolved = resolve(spec(group_column="id"), profile(bad))
    with pytest.raises(DataError, match="one class, the same in all of its rows") as caught:
        discover()[TASK].prepare(bad, resolved)
    assert caught.value.row is not None and caught.value.column == "kind"


def test_the_same_name_in_two_datasets_is_two_series() -> None:
    one, two = points(20, 0), points(15, 1)
    stacked = {
        n: Words.of([*c.values(), *two.words(n).values()]) if isinstance(c, Words) else np.append(c, two.numbers(n))
        for n, c in one.columns.items()
    }
    table = Table(stacked, one.types)
    resolved = resolve(spec(group_column="id", time_column="t"), profile(table))
    parts = {"train": len(one), "validation": 0, "test": len(two)}
    from dataclasses import replace

    problem = discover()[TASK].prepare(table, replace(resolved, options={**resolved.options, "parts": parts}))
    assert len(problem.y) == 35 and len(problem.folds.test) == 15


def test_a_model_over_long_form_answers_once_for_every_series() -> None:
    model = assay.fit(
        points(), "kind", task=TASK, trials=1, families=["minirocket"], group_column="id", time_column="t"
    )
    new = points(12, seed=5)
    answers, _ = model.answer(new)
    rows = [
        dict(zip(new.names, values, strict=True))
        for values in zip(
            *(c.values() if isinstance(c, Words) else c.tolist() for c in new.columns.values()), strict=True
        )
    ]
    again, _ = model.answer([{k: v for k, v in r.items() if k != "kind"} for r in rows])
    assert [a["group"] for a in answers] == list(dict.fromkeys(r["id"] for r in rows))
    truth = {r["id"]: r["kind"] for r in rows}
    assert np.mean([a["value"] == truth[a["group"]] for a in answers]) > 0.6
    assert [a["probabilities"] for a in again] == [a["probabilities"] for a in answers]


def test_steps_that_never_differ_are_told_as_that() -> None:
    columns = {f"t{i}": Words.of(["1.0"] * 30) for i in range(5)} | {"kind": Words.of(["a", "b"] * 15)}
    types = dict.fromkeys(columns, ColumnType.CONSTANT) | {"kind": ColumnType.CATEGORY}
    with pytest.raises(SpecError, match="5 columns hold one value"):
        resolve(spec(), profile(Table(columns, types)))
