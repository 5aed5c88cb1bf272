"""The Gaussian process behind `bayesian`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from assay.search.strategies import _gp
from assay.search.trial import Trial, TrialStatus
from assay.space import Choice, Dimension, Float, Int, Space
from tests.search.strategies.rows import trial

PLANE = Space((Dimension("x", Float(0.0, 1.0), 0.5), Dimension("y", Float(1e-3, 1.0, log=True), 0.1)))


def height(u: np.ndarray) -> float:
    """Best, 0, at the unit point (0.3, 0.6)."""
    return -float(((u - [0.3, 0.6]) ** 2).sum())


def bowl(n: int, offset: float = 0.0, scale: float = 1.0) -> list[Trial]:
    points = np.random.default_rng(0).random((n, 2))
    return [trial(i, "a", offset + scale * height(u), config=PLANE.from_unit(u)) for i, u in enumerate(points)]


def suggested(rows: list[Trial], failed: Sequence[Trial] = (), unknown: Sequence[Trial] = ()) -> np.ndarray:
    config = _gp.suggest(PLANE, rows, list(failed), list(unknown), np.random.default_rng(len(rows)))
    assert config is not None and PLANE.contains(config)
    return PLANE.to_unit(config)


def climbed(rows: list[Trial], steps: int = 8, offset: float = 0.0, scale: float = 1.0) -> float:
    """How far from the top the best of a few suggestions in a row lies."""
    found = []
    for _ in range(steps):
        u = suggested(rows)
        found.append(float(np.abs(u - [0.3, 0.6]).max()))
        rows = [*rows, trial(len(rows), "a", offset + scale * height(u), config=PLANE.from_unit(u))]
    return min(found)


@pytest.mark.parametrize(("offset", "scale"), [(0.0, 1.0), (1e6, 1.0), (0.0, 1e-6), (-5.0, 1e5)])
def test_it_finds_the_top_of_a_smooth_hill_from_few_points_whatever_the_scale_of_the_scores(
    offset: float, scale: float
) -> None:
    assert climbed(bowl(6, offset, scale), offset=offset, scale=scale) < 0.03


def test_one_terrible_score_does_not_hide_the_hill() -> None:
    assert climbed([*bowl(6), trial(6, "a", -1e9, config=PLANE.from_unit(np.array([0.9, 0.9])))]) < 0.05


def test_an_open_trial_at_the_top_sends_the_next_one_elsewhere() -> None:
    rows = bowl(12)
    first = suggested(rows)
    again = suggested(rows, unknown=[trial(12, "a", config=PLANE.from_unit(first))])
    assert np.abs(again - first).max() > 1e-3


def test_failures_at_the_top_send_it_away() -> None:
    spots = 0.03 * np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]]) + [0.3, 0.6]
    failed = [trial(15 + i, "a", status=TrialStatus.FAILED, config=PLANE.from_unit(u)) for i, u in enumerate(spots)]
    assert np.abs(suggested(bowl(15), failed) - [0.3, 0.6]).max() > 0.05


def test_whole_numbers_are_proposed_as_whole_numbers() -> None:
    space = Space((Dimension("n", Int(1, 6), 3),))
    rows = [trial(i, "a", -abs(n - 5.0), config={"n": n}) for i, n in enumerate([1, 2, 3, 6])]
    found = _gp.suggest(space, rows, [], [], np.random.default_rng(0))
    assert found is not None and found["n"] in (4, 5)


def test_repeated_points_and_ties_do_not_break_it() -> None:
    same = [trial(i, "a", 1.0 + 0.1 * (i % 2), config=PLANE.defaults()) for i in range(20)]
    suggested(same)


def test_it_has_no_opinion_on_too_little() -> None:
    rng = np.random.default_rng(0)
    assert _gp.suggest(PLANE, bowl(2), [], [], rng) is None
    flat = [trial(i, "a", 1.0, config=t.config) for i, t in enumerate(bowl(9))]
    assert _gp.suggest(PLANE, flat, [], [], rng) is None


def test_it_is_at_home_in_small_numeric_spaces_only() -> None:
    wide = Space(tuple(Dimension(f"x{i}", Float(0.0, 1.0), 0.5) for i in range(9)))
    assert _gp.fits(PLANE)
    assert not _gp.fits(wide)
    assert not _gp.fits(Space(()))
    assert not _gp.fits(Space((*PLANE.dimensions, Dimension("c", Choice("a", "b"), "a"))))
