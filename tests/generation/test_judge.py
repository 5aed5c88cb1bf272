"""What samples teach, against what real rows teach."""

from __future__ import annotations

import numpy as np
import pytest

from assay.data.table import ColumnType, Table
from assay.generation.columns import fit_rows
from assay.generation.judge import RowJudge


def rows(seed: int, noise: float, n: int = 300) -> Table:
    """A number that is the sum of two others and noise."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n))
    columns = {"a": a, "b": b, "y": a + b + noise * rng.normal(size=n)}
    return Table(columns, dict.fromkeys(columns, ColumnType.NUMBER))


def taught(real_noise: float, noise: float, n: int = 900) -> float:
    train, held = rows(0, real_noise), rows(1, real_noise)
    judge = RowJudge(fit_rows(train, "y"), train, held, "y")
    return judge.made({k: np.asarray(v) for k, v in rows(2, noise, n).columns.items()}, 0.0).tstr


def test_rows_of_the_same_kind_teach_as_much_noisy_ones_less_and_shuffled_ones_nothing() -> None:
    assert 0.95 < taught(0.5, 0.5) < 1.05
    assert taught(0.5, 2.0) < 0.9
    assert taught(0.5, 0.1) > taught(0.5, 0.5)  # what is learned is learned through the noise of the samples
    assert taught(0.5, 1e3) < 0.2


def test_what_is_taught_is_known_where_real_rows_teach_nothing() -> None:
    assert taught(50.0, 50.0) == pytest.approx(1.0, abs=0.4)
    train, held = rows(0, 1.0), rows(1, 1.0)
    judge = RowJudge(fit_rows(train), train, held, None)
    assert np.isnan(judge.made({k: np.asarray(v) for k, v in rows(2, 1.0).columns.items()}, 0.0).tstr)
