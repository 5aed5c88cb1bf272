"""Profiles: right counts, and warnings where there is something to warn of and nowhere else."""

from __future__ import annotations

import json

import numpy as np
import pytest

from assay.data.profile import Profile, profile, warnings_for
from assay.data.table import ColumnType, Table, Words

RNG = np.random.default_rng(5)
N = 400


def clean() -> Table:
    """A table with nothing odd about it: y depends on x and c, but not perfectly."""
    x, c = RNG.normal(size=N), RNG.integers(0, 3, N)
    y = np.where(x + c + RNG.normal(size=N) > 1, "yes", "no")
    return Table(
        {"x": x, "c": Words.of([f"c{i}" for i in c]), "y": Words.of(y.tolist())},
        {"x": ColumnType.NUMBER, "c": ColumnType.CATEGORY, "y": ColumnType.BOOLEAN},
    )


def with_column(table: Table, name: str, column: np.ndarray | Words, kind: ColumnType) -> Table:
    return Table({**table.columns, name: column}, {**table.types, name: kind})


def codes(table: Table, target: str | None = "y", kind: str | None = "binary") -> set[tuple[str, str | None]]:
    return {(w.code, w.column) for w in warnings_for(table, profile(table, target), target, kind)}


def test_a_clean_table_has_no_warnings() -> None:
    assert codes(clean()) == set()


def test_counts_are_those_of_the_column() -> None:
    table = Table(
        {"n": np.array([1.0, 2.0, np.nan, 2.0]), "w": Words.of(["a", "b", None, "a"]), "e": np.full(4, np.nan)},
        {"n": ColumnType.INTEGER, "w": ColumnType.CATEGORY, "e": ColumnType.NUMBER},
    )
    found = profile(table)
    n, w, e = (found.column(c) for c in "nwe")
    assert found.n_rows == 4
    assert (n.missing, n.distinct, n.type) == (1, 2, "integer")
    assert (n.statistics["min"], n.statistics["max"], n.statistics["mean"]) == (1.0, 2.0, pytest.approx(5 / 3))
    assert n.statistics["top"] == [{"value": 1, "count": 1}, {"value": 2, "count": 2}]
    assert (w.missing, w.distinct, w.example) == (1, 2, "a")
    assert w.statistics["top"] == [{"value": "a", "count": 2}, {"value": "b", "count": 1}]
    assert (e.missing, e.distinct, e.example) == (4, 0, None)


def test_a_profile_survives_json() -> None:
    found = profile(clean(), "y")
    assert Profile.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))) == found


def test_extreme_numbers_are_profiled_without_a_fault() -> None:
    table = Table({"a": np.array([-1.7e308, 1.7e308, 0.0]), "b": np.array([1.0, np.nextafter(1, 2), 1.0])},
                  {"a": ColumnType.NUMBER, "b": ColumnType.NUMBER})  # fmt: skip
    json.dumps(profile(table).to_json(), allow_nan=False)


def test_long_lists_of_words_are_cut_but_not_those_of_the_target() -> None:
    words = Words.of([f"w{i % 40}" for i in range(N)])
    table = Table({"a": words, "y": words}, {"a": ColumnType.CATEGORY, "y": ColumnType.CATEGORY})
    found = profile(table, "y")
    assert len(found.column("a").statistics["top"]) == 20 and len(found.column("y").statistics["top"]) == 40


ODD: dict[str, tuple[np.ndarray | Words, ColumnType]] = {
    "id_like": (Words.of([f"k{i}" for i in range(N)]), ColumnType.ID),
    "constant": (Words.of(["a"] * N), ColumnType.CONSTANT),
    "high_missing": (np.where(np.arange(N) % 10 < 3, np.arange(N), np.nan), ColumnType.NUMBER),
    "high_cardinality": (Words.of([f"k{i % 150}" for i in range(N)]), ColumnType.CATEGORY),
}


@pytest.mark.parametrize("code", ODD)
def test_an_odd_column_is_named(code: str) -> None:
    column, kind = ODD[code]
    assert codes(with_column(clean(), "odd", column, kind)) == {(code, "odd")}


def test_columns_that_hold_the_answer_are_named_in_every_kind_of_task() -> None:
    table = clean()
    y = table.words("y").codes.astype(float)
    assert codes(with_column(table, "leak", y * 3 + RNG.normal(size=N) / 100, ColumnType.NUMBER)) == {
        ("leaking", "leak")
    }
    spelled = Words.of([["p", "q"][int(v)] for v in y])
    assert codes(with_column(table, "leak", spelled, ColumnType.CATEGORY)) == {("leaking", "leak")}
    amount = with_column(table, "z", table.numbers("x") * 10 + RNG.normal(size=N), ColumnType.NUMBER)
    assert codes(amount, "z", "regression") == set()
    hidden = with_column(amount, "leak", np.round(amount.numbers("z")), ColumnType.NUMBER)
    assert codes(with_column(hidden, "z", np.round(amount.numbers("z")), ColumnType.NUMBER), "z", "regression") >= {
        ("leaking", "leak")
    }


def test_many_distinct_categories_do_not_look_like_the_answer() -> None:
    table = with_column(clean(), "who", Words.of([f"k{i // 2}" for i in range(N)]), ColumnType.CATEGORY)
    assert ("leaking", "who") not in codes(table)


def test_rows_without_a_target_are_counted() -> None:
    y = clean().words("y")
    table = with_column(
        clean(), "y", Words(np.where(np.arange(N) < 7, -1, y.codes).astype(np.int32), y.levels), ColumnType.BOOLEAN
    )
    told = [w for w in warnings_for(table, profile(table), "y", "binary") if w.code == "target_missing"]
    assert len(told) == 1 and told[0].message.startswith("7 rows")


def test_rare_classes_few_rows_and_copies_are_said() -> None:
    table = clean()
    rare = Words.of(["yes" if i % 50 == 0 else "no" for i in range(N)])
    assert ("imbalanced", "y") in codes(with_column(table, "y", rare, ColumnType.BOOLEAN))
    assert ("too_few_rows", None) in codes(table.take(np.arange(30)))
    doubled = table.take(np.r_[0:N, 0:5])
    told = [w.message for w in warnings_for(doubled, profile(doubled), None, None) if w.code == "duplicate_rows"]
    assert len(told) == 1 and told[0].startswith("5 of 405")
