"""Length scales say which columns matter, and have the largest likelihood by another reckoning."""

from __future__ import annotations

import numpy as np

from assay.model.similarity import similarity
from assay.training.relevance import NOISES, length_scales

COLUMNS = 8


def rows(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Two of eight columns matter; answers of mean 0 and variance 1."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, COLUMNS))
    y = np.sin(2 * x[:, 1]) + x[:, 4] ** 2 / 2 + 0.1 * rng.normal(size=n)
    return x, (y - y.mean()) / y.std()


def test_columns_that_do_not_matter_get_long_scales() -> None:
    x, y = rows(150)
    lengths, signal, noise = length_scales(x, y, np.arange(COLUMNS))
    others = np.delete(lengths, [1, 4])
    assert others.min() > 2 * lengths[[1, 4]].max()
    assert signal > 10 * noise > 10 * NOISES[0]


def test_the_likelihood_found_is_higher_than_around_it_and_with_one_width_by_scikit_learn_s_reckoning() -> None:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    x, y = rows(80)
    lengths, signal, noise = length_scales(x, y, np.arange(COLUMNS))

    def likelihood(scales: object) -> float:
        wanted = ConstantKernel(signal) * Matern(scales, nu=1.5) + WhiteKernel(noise)
        model = GaussianProcessRegressor(wanted, optimizer=None).fit(x, y)
        return float(model.log_marginal_likelihood_value_)

    best = likelihood(lengths)
    assert best > max(likelihood(width) for width in (1.0, 2.0, 4.0))
    for j in (1, 4):
        for factor in (0.5, 2.0):
            moved = lengths.copy()
            moved[j] *= factor
            assert likelihood(moved) < best


def test_coordinates_of_one_column_share_a_scale() -> None:
    rng = np.random.default_rng(0)
    word = rng.integers(0, 3, 120)
    points = np.concatenate([np.eye(3)[word], rng.normal(size=(120, 1))], 1)
    y = (word == 0) - (word == 0).mean()
    lengths, _, _ = length_scales(points, 2 * y, np.array([0, 0, 0, 1]))
    assert lengths.shape == (2,)
    assert lengths[1] > 3 * lengths[0]


def test_rows_are_as_similar_as_scikit_learn_s_kernels_say() -> None:
    from sklearn.gaussian_process.kernels import RBF, Matern

    a, b = np.random.default_rng(0).normal(size=(2, 9, 3))
    np.testing.assert_allclose(similarity("matern32", a, b), Matern(1.0, nu=1.5)(a, b), atol=1e-9)
    np.testing.assert_allclose(similarity("gaussian", a, b, 2.0), RBF(1.0)(a, b), atol=1e-9)
