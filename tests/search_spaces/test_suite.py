"""Every installed family keeps the family contract; a new file is found and checked with no edit here."""

from __future__ import annotations

import pytest

import search_spaces
from assay.families import Family, discover
from assay.testing.families import FamilySuite

# generators predict nothing, detectors and segmenters answer for every place: tests/search_spaces/generative, detection,
# segmentation and multitask hold them to contracts of their own
OTHERS = {"generation", "object_detection", "segmentation"}
LARGE = {
    "finetuned_backbone"
}  # millions of weights are trained: tests/search_spaces/image/test_finetuned.py is quicker


def _is_other(family: Family) -> bool:
    return bool(OTHERS & family.tasks) or family.name in LARGE or getattr(family, "form", "") == "pictures"


@pytest.mark.parametrize("name", sorted(n for n, f in discover().items() if not _is_other(f)))
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
