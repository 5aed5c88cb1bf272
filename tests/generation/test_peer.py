"""The Gaussian mixture that rows are compared with."""

from __future__ import annotations

import numpy as np

from assay.data.table import ColumnType, Table, Words
from assay.generation.peer import mixture


def test_it_draws_both_kinds_of_rows_in_whole_numbers_and_known_words() -> None:
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, 400)
    columns = {
        "size": np.where(rng.random(400) < 0.1, np.nan, rng.normal(10 * kind, 1.0)),
        "count": np.round(rng.normal(50 - 40 * kind, 2.0)),
        "kind": Words.of([("a", "b")[k] for k in kind]),
    }
    kinds = (ColumnType.NUMBER, ColumnType.INTEGER, ColumnType.CATEGORY)
    made = mixture(Table(columns, dict(zip(columns, kinds, strict=True))))
    assert {len(v) for v in made.values()} == {400} and set(made["kind"]) == {"a", "b"}
    assert (made["count"] == np.round(made["count"])).all() and np.isfinite(made["size"]).all()
    is_b = made["kind"] == "b"
    assert abs(made["count"][is_b].mean() - 10) < 2 and abs(made["count"][~is_b].mean() - 50) < 2
    assert 0.4 < is_b.mean() < 0.6
