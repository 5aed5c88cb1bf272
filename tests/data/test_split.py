"""Validation plans: disjoint, complete, in proportion, and honest about groups and time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.data.split import make_folds


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(12, 300), k=st.integers(2, 6), share=st.sampled_from([0.0, 0.1, 0.3]), classes=st.integers(2, 5))
def test_every_row_is_validated_once_or_kept_for_the_test(n: int, k: int, share: float, classes: int) -> None:
    y = np.random.default_rng(n).integers(0, classes, n)
    folds = make_folds("cv", k, share, rng(), n=n, strata=y)
    seen = np.concatenate([folds.test, *(valid for _, valid in folds.pairs)])
    assert sorted(seen) == list(range(n))
    for train, valid in folds.pairs:
        assert not set(train) & set(valid)
        assert not set(train) & set(folds.test)


def test_classes_keep_their_proportion_in_every_fold() -> None:
    y = np.repeat([0, 1, 2], [300, 60, 15])
    folds = make_folds("cv", 5, 0.2, rng(), n=len(y), strata=y)
    counts = np.array([np.bincount(y[valid], minlength=3) for _, valid in folds.pairs])
    assert counts.max(axis=0) - counts.min(axis=0) == pytest.approx([0, 0, 0], abs=1.01)


def test_a_class_of_one_row_stays_out_of_the_test_part() -> None:
    y = np.array([0] * 50 + [1] * 50 + [2])
    folds = make_folds("cv", 5, 0.3, rng(), n=len(y), strata=y)
    assert 100 not in folds.test


def test_a_continuous_target_is_spread_evenly() -> None:
    y = np.random.default_rng(0).lognormal(0, 1.5, 500)
    folds = make_folds("cv", 5, 0.1, rng(), n=500, strata=y)
    medians = [np.median(y[valid]) for _, valid in folds.pairs]
    assert max(medians) / min(medians) < 1.3


def test_groups_are_never_split() -> None:
    groups = np.random.default_rng(1).integers(0, 40, 400)
    folds = make_folds("group", 4, 0.2, rng(), n=400, groups=groups)
    for train, valid in folds.pairs:
        assert not set(groups[train]) & set(groups[valid])
        assert not set(groups[train]) & set(groups[folds.test])
    assert len(folds.test) > 0


def test_time_never_flows_backwards() -> None:
    order = np.random.default_rng(2).permutation(200)
    folds = make_folds("time", 4, 0.1, rng(), n=200, order=order)
    for train, valid in folds.pairs:
        assert order[train].max() < order[valid].min()
    assert order[folds.test].min() > order[folds.covered].max()
    assert len(folds.test) == 20


def test_a_hold_out_is_one_fold() -> None:
    folds = make_folds("holdout", 5, 0.1, rng(), n=1000, strata=np.zeros(1000, dtype=np.int64))
    assert len(folds) == 1
    assert len(folds.pairs[0][1]) == 180


def test_the_same_seed_gives_the_same_plan() -> None:
    y = np.random.default_rng(0).integers(0, 3, 100)
    a, b = (make_folds("cv", 5, 0.1, rng(), n=100, strata=y) for _ in range(2))
    assert all((x == z).all() for p, q in zip(a.pairs, b.pairs, strict=True) for x, z in zip(p, q, strict=True))
