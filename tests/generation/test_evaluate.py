"""How calmly the target of drawn rows is told."""

from __future__ import annotations

import pytest

from assay.generation.evaluate import calmest


@pytest.mark.parametrize(
    ("told", "wanted", "calm"),
    [
        ({0.7: 0.80, 0.5: 0.70, 0.3: 0.52}, 0.65, 0.5),  # the smallest that is as hard to tell as is wanted
        ({0.7: 0.80, 0.5: 0.70, 0.3: 0.66}, 0.65, 0.3),
        ({0.7: 0.60, 0.5: 0.52, 0.3: 0.40}, 0.95, 0.7),  # nothing is: the hardest to tell
        ({0.7: 0.54, 0.5: 0.55, 0.3: 0.53}, 0.95, 0.3),  # or what costs nothing
    ],
)
def test_errors_are_as_small_as_the_two_sample_test_allows(
    told: dict[float, float], wanted: float, calm: float
) -> None:
    assert calmest(told, wanted) == calm
