"""What boosting is expected to cost on wide tables."""

from __future__ import annotations

from typing import Any

import pytest

from assay.families import Shape, discover
from search_spaces.tabular._boosting import MANY, preparing


@pytest.mark.parametrize("family", ["lightgbm", "catboost"])
def test_choosing_columns_first_is_cheaper_on_wide_tables_only(family: str) -> None:
    found: Any = discover()[family]
    plain, chosen = found.Config(), found.Config(select=True)
    wide, narrow = Shape(1_500, 1_000, 2), Shape(1_500, 20, 2)
    assert found.cost(chosen, wide).seconds < 0.6 * found.cost(plain, wide).seconds
    assert found.cost(chosen, narrow).seconds > found.cost(plain, narrow).seconds


def test_columns_left_never_rise_by_choosing() -> None:
    for n in (5, 50, MANY, 3 * MANY, 5_000):
        seconds, left = preparing(Shape(1_000, n, 2), derived=False, select=True)
        assert seconds > 0 and min(n, MANY) <= left <= n
        assert preparing(Shape(1_000, n, 2), derived=False, select=False) == (0.0, n)
