from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from assay.clustering import deliver
from assay.clustering.agreement import _alike, agreed
from assay.clustering.criteria import adjusted_rand
from assay.errors import DataError

if TYPE_CHECKING:
    from assay.tasks._problem import Problem

HALVES = np.repeat([0, 1], 50)
NEAR = np.r_[1, np.repeat([0, 1], 50)[1:]]  # the same but for one row
STRIPES = np.tile([0, 1], 50)


def test_of_near_equals_the_one_that_others_agree_with() -> None:
    merits = agreed([0.80, 0.79, 0.79], [0, 0, 0], [STRIPES, HALVES, NEAR], [0, 1, 2], seed=0)
    assert merits[1:].min() > merits[0] + 0.1


def test_what_is_far_behind_has_no_say() -> None:
    merits = agreed([0.9, 0.3, 0.3], [9, -9, -9], [STRIPES, HALVES, NEAR], [0, 1, 2], seed=0)
    assert merits.argmax() == 0
    np.testing.assert_allclose(merits[0], 0.1 * 0.9 + 0.9, atol=1e-4)


def test_odds_turn_a_small_lead_and_only_their_differences_count() -> None:
    merits = agreed([0.85, 0.8], [0, 2], [STRIPES, HALVES], [0, 1], seed=0)
    assert agreed([0.85, 0.8], [0, 0], [STRIPES, HALVES], [0, 1], seed=0).argmax() == 0
    assert merits.argmax() == 1
    np.testing.assert_allclose(agreed([0.85, 0.8], [500, 502], [STRIPES, HALVES], [0, 1], seed=0), merits)


def test_what_is_not_heard_may_be_delivered_but_has_no_say() -> None:
    everyone = agreed([0.8, 0.8, 0.9], [0, 0, 9], [HALVES, HALVES, STRIPES], [0, 1, 2], seed=0)
    assert everyone.argmax() == 2
    merits = agreed([0.8, 0.8, 0.9], [0, 0, 9], [HALVES, HALVES, STRIPES], [0, 1], seed=0)
    np.testing.assert_allclose(merits[:2], 0.1 * 0.8 + 0.9)
    assert agreed([0.8, 0.8, 0.9], [0, 0, 9], [STRIPES, STRIPES, HALVES], [0, 2], seed=0).argmax() == 2
    assert merits[2] < 0.2  # two that nobody agrees with


def test_names_of_clusters_and_many_rows_change_nothing() -> None:
    few = agreed([0.8, 0.79], [0, 1], [HALVES, NEAR], [0, 1], seed=0)
    np.testing.assert_allclose(agreed([0.8, 0.79], [0, 1], [1 - HALVES, NEAR - 1], [0, 1], seed=0), few)
    many = agreed([0.8, 0.79], [0, 1], [np.tile(HALVES, 100), np.tile(HALVES, 100)], [0, 1], seed=0)
    np.testing.assert_allclose(many, [0.1 * 0.8 + 0.9, 0.1 * 0.79 + 0.9])


def test_one_alone_is_kept() -> None:
    assert agreed([0.4], [3.0], [HALVES], [0], seed=0).tolist() == [pytest.approx(0.1 * 0.4 + 0.9)]


def test_a_job_delivers_it_and_unreadable_trials_come_last(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = {"0": STRIPES, "1": HALVES, "2": NEAR}

    class Stored:
        def __init__(self, path: Path) -> None:
            if path.name not in codes:
                raise DataError("gone")
            self.codes, self.info = codes[path.name], {"odds": 0.0}

        def array(self, name: str) -> np.ndarray:
            return self.codes

    monkeypatch.setattr(deliver.checkpoint, "load", Stored)
    problem = cast("Problem", SimpleNamespace(resolved=SimpleNamespace(seed=0)))
    ranked = [deliver.Source(i, "kmeans", s, Path(str(i))) for i, s in ((3, 0.81), (0, 0.8), (1, 0.79), (2, 0.785))]
    assert [s.number for s in deliver._agreed(problem, ranked)] == [1, 2, 0, 3]


def test_the_first_trials_are_heard_whatever_their_score(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[list[int]] = []

    def stored(path: Path) -> SimpleNamespace:
        return SimpleNamespace(array=lambda name: HALVES, info={"odds": float(path.name)})

    def spy(
        scores: list[float], odds: list[float], partitions: list[np.ndarray], who: np.ndarray, seed: int
    ) -> np.ndarray:
        heard.append(sorted(int(odds[i]) for i in who))
        return np.asarray(scores)

    monkeypatch.setattr(deliver.checkpoint, "load", stored)
    monkeypatch.setattr(deliver, "agreed", spy)
    problem = cast("Problem", SimpleNamespace(resolved=SimpleNamespace(seed=0)))
    n = deliver.BEST + deliver.FIRST + 20
    ranked = [
        deliver.Source(n - i, "kmeans", 1.0 - i / n, Path(str(n - i))) for i in range(n)
    ]  # the first trials are the worst
    order = deliver._agreed(problem, ranked)
    assert heard == [list(range(1, deliver.FIRST + 1))]
    assert sorted(s.number for s in order) == list(range(1, n + 1))


def test_pairs_are_compared_by_the_adjusted_rand_index() -> None:
    rng = np.random.default_rng(0)
    partitions = [rng.integers(-1, k, 200) for k in (2, 5, 9)] + [HALVES.repeat(2), np.zeros(200, int)]
    expected = [[adjusted_rand(a, b) for b in partitions] for a in partitions]
    np.testing.assert_allclose(_alike(partitions), expected, atol=1e-12)
