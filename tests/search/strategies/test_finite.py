"""Counting and listing configurations."""

from __future__ import annotations

import math
from itertools import islice

import pytest

from assay.search.strategies._finite import cardinality, configurations
from assay.space import Choice, Dimension, Float, Int, Space, When

ONE_REAL = Space((Dimension("on", Choice(False, True), False), Dimension("x", Float(0.0, 1.0), 0.5, When("on", True))))
SPACES = {
    "nothing": (Space(()), 1),
    "a product": (Space((Dimension("a", Int(1, 3), 1), Dimension("b", Choice("x", "y"), "x"))), 6),
    "a condition": (Space((Dimension("a", Int(1, 3), 1), Dimension("b", Int(1, 10), 1, When("a", 2, 3)))), 21),
    "a chain": (
        Space(
            (
                Dimension("a", Choice("x", "y", "z"), "x"),
                Dimension("b", Choice("p", "q"), "p", When("a", "y")),
                Dimension("c", Int(1, 5), 1, When("b", "q")),
            )
        ),
        2 + 1 + 5,
    ),
    "a condition that never holds": (
        Space((Dimension("a", Int(1, 3), 1), Dimension("b", Int(1, 9), 1, When("a", 7)))),
        3,
    ),
    "a point": (Space((Dimension("x", Float(0.5, 0.5), 0.5), Dimension("a", Int(1, 2), 1))), 2),
}


@pytest.mark.parametrize(("space", "size"), SPACES.values(), ids=SPACES)
def test_every_configuration_is_counted_and_listed_once(space: Space, size: int) -> None:
    listed = list(configurations(space))
    assert cardinality(space) == size == len(listed) == len({space.key(c) for c in listed})
    assert all(space.contains(c) and space.complete(c) == c for c in listed)


def test_a_real_dimension_that_can_count_makes_a_space_infinite_and_its_points_never_repeat() -> None:
    assert cardinality(ONE_REAL) == math.inf
    listed = list(islice(configurations(ONE_REAL), 200))
    assert len({ONE_REAL.key(c) for c in listed}) == 200
