"""Metrics of samples: the real thing scores best, noise, copies and lost modes are each caught."""

from __future__ import annotations

import numpy as np
import pytest

from assay.metrics import METRICS
from assay.metrics.generation import (
    Made,
    Real,
    copies,
    fidelity,
    frechet,
    memorised,
    nearest,
    sample_precision,
    sample_recall,
    two_sample,
    weighed,
)


def blobs(n: int, seed: int, centres: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 4)) + 6.0 * rng.integers(0, centres, n)[:, None]


TRAIN, HELD = blobs(400, 0), blobs(300, 1)
REAL = Real(HELD, HELD, TRAIN)


def made(x: np.ndarray) -> Made:
    return Made(x, x)


def test_fresh_rows_of_the_same_kind_are_hard_to_tell_and_noise_is_not() -> None:
    fresh, noise = made(blobs(300, 2)), made(HELD + np.random.default_rng(3).normal(size=HELD.shape) * 4)
    assert two_sample(REAL, fresh) > 0.8
    assert two_sample(REAL, noise) < 0.5
    assert two_sample(REAL, made(np.zeros((300, 4)))) < 0.05


def test_the_frechet_distance_is_that_of_two_normal_distributions() -> None:
    x = np.random.default_rng(0).normal(size=(20_000, 2))
    moved = x * np.array([2.0, 1.0]) + np.array([3.0, 0.0])
    assert abs(frechet(Real(x, x, x), made(moved)) - (9.0 + 1.0)) < 0.2
    assert frechet(Real(x, x, x), made(x)) < 1e-9


def test_precision_sees_what_does_not_belong_and_recall_what_is_lost() -> None:
    lost = made(blobs(300, 2, centres=1))
    assert sample_precision(REAL, lost) > 0.9 and sample_recall(REAL, lost) < 0.5
    stray = made(np.concatenate([blobs(150, 2), 40 + blobs(150, 4)]))
    assert sample_precision(REAL, stray) < 0.6 and sample_recall(REAL, stray) > 0.8


def test_copies_of_training_rows_are_counted_beyond_chance() -> None:
    half = np.concatenate([TRAIN[:150], blobs(150, 2)])
    assert 0.4 < memorised(REAL, made(half)) < 0.6
    assert memorised(REAL, made(blobs(300, 5))) < 0.01
    coarse = np.round(TRAIN / 6) * 6, np.round(HELD / 6) * 6, np.round(blobs(300, 2) / 6) * 6  # copies all by chance
    drawn, chance, error = copies(Real(coarse[1], coarse[1], coarse[0]), made(coarse[2]))
    assert chance > 0.5 and abs(drawn - chance) < 3 * error + 0.01


def test_nearest_is_what_looking_at_all_pairs_finds() -> None:
    expected = np.linalg.norm(HELD[:, None] - TRAIN[None], axis=2).min(1)
    np.testing.assert_allclose(nearest(HELD, TRAIN), expected, atol=1e-6)


def test_what_a_generator_has_no_value_for_is_left_out() -> None:
    assert np.isnan(METRICS["bits_per_dim"].value(REAL, made(HELD)))
    assert METRICS["bits_per_dim"].score(REAL, Made(HELD, HELD, bits=2.0)) == -2.0
    assert METRICS["tstr"].value(REAL, Made(HELD, HELD, tstr=0.97)) == 0.97


def test_what_was_told_apart_once_is_known_for_that_real_side_and_not_for_another() -> None:
    drawn = made(blobs(300, 2))
    assert two_sample(REAL, drawn) == two_sample(REAL, drawn) > 0.8
    for seed in range(3):  # each may lie where the one before it was
        other = HELD + 50 + seed
        assert two_sample(Real(other, other, TRAIN), drawn) < 0.05
    assert list(drawn.told) == [REAL]


def test_fidelity_asks_for_both_and_for_the_first_alone_without_a_target() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 300, 3))
    real = Real(a, a, b)
    drawn = [Made(b, b, tstr=t) for t in (float("nan"), 1.2, 0.9, -0.3)]
    told = two_sample(real, drawn[0])
    assert [fidelity(real, m) for m in drawn] == pytest.approx([told, told, 0.9**4 * told, 0.0])
    assert weighed(told, 1.2, 1.1) == told > weighed(told, 1.05, 1.1) > weighed(told, 1.0, 1.1)
