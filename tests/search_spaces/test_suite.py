"""Every installed family keeps the family contract; a new file is found and checked with no edit here."""

from __future__ import annotations

import pytest

import search_spaces
from assay.families import Family, discover
from assay.testing.families import FamilySuite

# generators predict nothing, detectors and segmenters answer for every place: tests/search_spaces/generative, detection
# and segmentation hold them to contracts of their own
OTHERS = {"generation", "object_detection", "segmentation"}
LARGE = {
    "finetuned_backbone"
}  # millions of weights are trained: tests/search_spaces/image/test_finetuned.py is quicker


@pytest.mark.parametrize("name", sorted(n for n, f in discover().items() if not OTHERS & f.tasks and n not in LARGE))
class TestFamilies(FamilySuite):
    @pytest.fixture
    def family(self, name: str) -> Family:
        family = discover()[name]
        why = getattr(family, "missing", lambda: "")()
        if why:
            pytest.skip(why)  # its own tests make what it needs
        return family


def test_every_family_that_ships_is_discovered() -> None:
    shipped = {f.name for f in search_spaces.families()}
    assert {"linear", "logistic", "lightgbm", "catboost", "knn"} <= shipped
    assert shipped <= set(discover())
