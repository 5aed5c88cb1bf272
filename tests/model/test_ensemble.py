"""Greedy ensemble selection."""

from __future__ import annotations

import numpy as np
import pytest

from assay.model.ensemble import MAX_MEMBERS, bagged_weights, greedy_weights, resampled_weights


def make(seed: int, m: int = 8, n: int = 400) -> tuple[np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    y = rng.normal(size=n)
    return y, [(y + rng.normal(scale=0.5 + 0.1 * i, size=n))[:, None] for i in range(m)]


def loss(y: np.ndarray, p: np.ndarray) -> float:
    return -float(np.mean((y - p[:, 0]) ** 2))


@pytest.mark.parametrize("seed", range(5))
def test_an_ensemble_is_at_least_as_good_as_its_best_member(seed: int) -> None:
    y, members = make(seed)
    weights = greedy_weights(members, lambda p: loss(y, p))
    blend = sum(w * m for w, m in zip(weights, members, strict=True))
    assert loss(y, blend) >= max(loss(y, m) for m in members)
    assert weights.sum() == pytest.approx(1.0)
    assert (weights >= 0).all()


def test_independent_errors_are_averaged_away() -> None:
    y, members = make(1)
    weights = greedy_weights(members, lambda p: loss(y, p))
    assert (weights > 0).sum() >= 4


def test_no_more_members_than_allowed() -> None:
    y, members = make(2, m=30)
    assert (greedy_weights(members, lambda p: loss(y, p), max_members=3) > 0).sum() <= 3


def test_a_copy_of_the_best_is_not_taken_beside_it() -> None:
    y, members = make(3)
    weights = greedy_weights([members[0], members[0].copy()], lambda p: loss(y, p))
    assert list(weights) == [1.0, 0.0]


def test_an_undefined_score_leaves_the_first_member() -> None:
    _, members = make(4)
    assert list(greedy_weights(members, lambda p: float("nan"))) == [1.0] + [0.0] * 7


def test_out_of_time_means_the_best_prefix_so_far() -> None:
    y, members = make(5)
    calls = iter(range(10_000))
    weights = greedy_weights(members, lambda p: loss(y, p) if next(calls) < 8 else float("nan"))
    best = int(np.argmax([loss(y, m) for m in members]))
    assert weights[best] == 1.0


def test_one_lucky_candidate_does_not_decide_alone_when_the_selection_is_bagged() -> None:
    y, members = make(6)
    lucky = y[:, None].copy()  # knows the validation rows by heart
    alone = greedy_weights([*members, lucky], lambda p: loss(y, p))
    bagged = bagged_weights([*members, lucky], lambda p: loss(y, p), np.random.default_rng(0))
    assert alone[-1] == 1.0
    assert 0.3 < bagged[-1] < 0.95
    assert bagged.sum() == pytest.approx(1.0)
    assert (bagged > 0).sum() <= MAX_MEMBERS


def test_bags_are_drawn_by_the_given_generator_alone() -> None:
    y, members = make(7)
    a, b = (bagged_weights(members, lambda p: loss(y, p), np.random.default_rng(3)) for _ in range(2))
    assert list(a) == list(b)


def test_bagging_ends_when_the_time_does() -> None:
    y, members = make(8)
    calls = iter(range(10_000))
    weights = bagged_weights(
        members, lambda p: loss(y, p) if next(calls) < 400 else float("nan"), np.random.default_rng(0)
    )
    assert weights.sum() == pytest.approx(1.0)


def test_few_rows_do_not_decide_between_members_that_are_alike() -> None:
    """Two as good as each other share the weight, whichever is ahead on these rows, and one far behind gets none."""
    lost_by_one = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        y = rng.normal(size=40)
        members = [(y + rng.normal(scale=s, size=40))[:, None] for s in (0.5, 0.5, 4.0)]
        weights = resampled_weights(members, lambda p, rows, y=y: loss(y[rows], p), np.random.default_rng(1))
        assert weights.sum() == pytest.approx(1.0)
        assert weights[2] == 0.0
        assert weights[:2].min() > 0.15
        alone = resampled_weights(
            members, lambda p, rows, y=y: loss(y[rows], p), np.random.default_rng(1), max_members=1
        )
        assert (alone > 0).sum() == 1
        lost_by_one += int(loss(y, members[int(alone.argmax())]) < loss(y, members[0] / 2 + members[1] / 2))
    assert lost_by_one == 8
