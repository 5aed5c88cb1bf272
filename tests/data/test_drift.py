"""Drift is told where it is large and no chance, copies where they flatter."""

from __future__ import annotations

import numpy as np

from assay.data.drift import about_parts
from assay.data.table import ColumnType, Table, Words

N = 400


def table(shift: float = 0.0, town: float = 0.5) -> Table:
    rng = np.random.default_rng(0)
    late = np.arange(N) >= N // 2
    columns = {
        "x": rng.normal(size=N) + shift * late,
        "noise": rng.normal(size=N),
        "town": Words.of(np.where(rng.random(N) < np.where(late, town, 0.5), "a", "b")),
    }
    return Table(columns, {"x": ColumnType.NUMBER, "noise": ColumnType.NUMBER, "town": ColumnType.CATEGORY})


TRAIN, TEST = np.arange(N // 2), np.arange(N // 2, N)


def test_columns_that_moved_are_named() -> None:
    told = about_parts(table(shift=2.0, town=0.95), TRAIN, TEST)
    assert [(w.code, w.column) for w in told] == [("drift", "x"), ("drift", "town")]


def test_chance_is_not_told() -> None:
    assert about_parts(table(), TRAIN, TEST) == []
    assert about_parts(table(shift=5.0), TRAIN, TEST[:20]) == [], "too few rows to say"


def test_copies_of_training_rows_are_told() -> None:
    whole = table()
    copied = whole.take(np.concatenate([TRAIN, TRAIN[: N // 4], TEST[: N // 4]]))
    assert [w.code for w in about_parts(copied, TRAIN, TEST)] == ["test_copies"]
