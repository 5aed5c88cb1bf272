"""Every installed family keeps the family contract; a new file is found and checked with no edit here."""

from __future__ import annotations

import pytest

import search_spaces
from assay.families import Family, discover
from assay.testing.families import FamilySuite


@pytest.mark.parametrize("name", sorted(discover()))
class TestFamilies(FamilySuite):
    @pytest.fixture
    def family(self, name: str) -> Family:
        return discover()[name]


def test_every_family_that_ships_is_discovered() -> None:
    shipped = {f.name for f in search_spaces.families()}
    assert {"linear", "logistic", "lightgbm", "catboost", "knn"} <= shipped
    assert shipped <= set(discover())
