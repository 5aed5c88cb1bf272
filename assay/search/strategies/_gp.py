"""A Gaussian process over one family's numeric space, and the configuration it expects to improve most.

Jones, Schonlau, Welch: Efficient global optimization of expensive black-box functions.  J. Global Optimization 13, 1998.
Matern-5/2 kernel; length-scales (one shared, then one pass over the dimensions) and noise by marginal likelihood and a
weak prior from small grids, as in Rasmussen, Williams: Gaussian Processes for Machine Learning, 2006, chapters 2 and 5.
The prior's length-scales grow with the square root of the dimensions (Hvarfner, Hellsten, Nardi: Vanilla Bayesian
optimization performs great in high dimensions.  ICML 2024).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assay.search.trial import Trial
from assay.space import Choice, Space, Values

MOST_DIMENSIONS = 8
LENGTHS = (0.15, 0.3, 0.6, 1.2)  # of the unit cube, times the square root of the number of dimensions
USUAL_LENGTH, LENGTH_SPREAD = 0.5, 0.7  # median and spread (of its logarithm) before any data
STRETCHES = (0.4, 3.0)  # tried on one dimension's length-scale; a long one means that the dimension hardly matters
NOISES = (1e-6, 1e-3, 1e-2, 1e-1)  # variance, of standardised scores
NOISE_DOUBT = 0.1  # log-probability lost for every factor e of noise: few points look like noise too easily


def fits(space: Space) -> bool:
    """True for a space of one to eight numeric dimensions: there a Gaussian process is at home."""
    return 1 <= len(space) <= MOST_DIMENSIONS and not any(isinstance(d.domain, Choice) for d in space)


def suggest(
    space: Space, completed: list[Trial], failed: list[Trial], unknown: list[Trial], rng: np.random.Generator
) -> Values | None:
    """The configuration of largest expected improvement over the best one; None when there is too little to model.

    completed: trials with a finite score.  failed: trials that ended without one; they count as bad as the worst.
    unknown: trials still open or stopped early; the model believes in its own prediction for them (Ginsbourger, Le
    Riche, Carraro: Kriging is well-suited to parallelize optimization, 2010).
    """
    if len(completed) < 3 or len({t.score for t in completed}) < 2:
        return None
    x = np.array([space.to_unit(t.config) for t in (*completed, *failed)])
    y = _standardised(np.array([t.score for t in completed], dtype=float), len(failed))
    model = _fitted(x, y)
    if unknown:
        x_unknown = np.array([space.to_unit(t.config) for t in unknown])
        model = model.given(x_unknown, model.predict(x_unknown)[0])
    return space.from_unit(_most_promising(space, model, x[np.argsort(-y, kind="stable")[:5]], float(y.max()), rng))


@dataclass(frozen=True, eq=False)
class _Model:
    """x: (n, d) in the unit cube; y: (n,) standardised; lengths: (d,); noise: a variance; chol: (n, n) lower factor."""

    x: np.ndarray
    y: np.ndarray
    lengths: np.ndarray
    noise: float
    chol: np.ndarray

    @staticmethod
    def of(x: np.ndarray, y: np.ndarray, lengths: np.ndarray, noise: float) -> _Model:
        covariance = _matern(x, x, lengths)
        covariance[np.diag_indices(len(x))] += noise + 1e-8  # the jitter keeps repeated points from breaking it
        return _Model(x, y, lengths, noise, np.linalg.cholesky(covariance))

    def given(self, x: np.ndarray, y: np.ndarray) -> _Model:
        return _Model.of(np.vstack([self.x, x]), np.concatenate([self.y, y]), self.lengths, self.noise)

    def plausibility(self) -> float:
        """Logarithm of the marginal likelihood times the prior of length-scales and noise."""
        from scipy.linalg import solve_triangular

        z = solve_triangular(self.chol, self.y, lower=True)
        usual = np.log(self.lengths / (USUAL_LENGTH * self.lengths.size**0.5)) / LENGTH_SPREAD
        prior = -0.5 * float(usual @ usual) - NOISE_DOUBT * float(np.log(self.noise / NOISES[0]))
        return float(-0.5 * z @ z - np.log(np.diag(self.chol)).sum()) + prior

    def predict(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the noise-free function.  x: (m, d) -> (m,), (m,)."""
        from scipy.linalg import cho_solve, solve_triangular

        k = _matern(x, self.x, self.lengths)  # (m, n)
        mean = k @ cho_solve((self.chol, True), self.y)
        half = solve_triangular(self.chol, k.T, lower=True)  # (n, m)
        return mean, np.sqrt(np.maximum(1.0 - (half * half).sum(axis=0), 1e-12))


def _fitted(x: np.ndarray, y: np.ndarray) -> _Model:
    d = x.shape[1]
    models = [_Model.of(x, y, np.full(d, length * d**0.5), noise) for length in LENGTHS for noise in NOISES]
    best = max(models, key=_Model.plausibility)
    for i in range(d if d > 1 else 0):
        stretched = [np.where(np.arange(d) == i, best.lengths * s, best.lengths) for s in STRETCHES]
        best = max([best, *(_Model.of(x, y, lengths, best.noise) for lengths in stretched)], key=_Model.plausibility)
    return best


def _matern(a: np.ndarray, b: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    a, b = a / lengths, b / lengths
    squared = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2.0 * a @ b.T  # (n, m)
    r = np.sqrt(5.0 * np.maximum(squared, 0.0))
    return np.asarray((1.0 + r + r * r / 3.0) * np.exp(-r))


def _standardised(scores: np.ndarray, n_failed: int) -> np.ndarray:
    """Mean 0 and deviation 1, with the worst tail pulled in: how bad a bad score is teaches nothing about good ones."""
    top, middle = scores.max(), np.median(scores)
    floor = middle - 3.0 * (top - middle) if top > middle else scores.min()
    y = np.concatenate([np.maximum(scores, floor), np.full(n_failed, max(scores.min(), floor))])
    spread = y.std()
    return np.asarray((y - y.mean()) / (spread if spread > 0 else 1.0))


def _most_promising(
    space: Space, model: _Model, leaders: np.ndarray, best: float, rng: np.random.Generator
) -> np.ndarray:
    d = len(space)
    points = np.vstack(
        [rng.random((256, d))]
        + [leaders[rng.integers(len(leaders), size=64)] + rng.normal(0, s, (64, d)) for s in (0.2, 0.05)]
    )
    top = _top(space, model, points, best, 4)
    for scale in (0.1, 0.03, 0.01):
        near = np.repeat(top, 16, axis=0) + rng.normal(0, scale, (16 * len(top), d))  # (4 * 16, d)
        top = _top(space, model, np.vstack([top, near]), best, 4)
    return np.asarray(top[0])


def _top(space: Space, model: _Model, points: np.ndarray, best: float, n: int) -> np.ndarray:
    points = _on_grid(space, np.clip(points, 0.0, 1.0))
    return np.asarray(points[np.argsort(-_expected_improvement(model, points, best), kind="stable")[:n]])


def _on_grid(space: Space, points: np.ndarray) -> np.ndarray:
    """Whole-number dimensions rounded to where their values lie, so that the model sees what would be tried."""
    for i, d in enumerate(space):
        points[:, i] = [d.domain.to_unit(d.domain.from_unit(float(u))) for u in points[:, i]]
    return points


def _expected_improvement(model: _Model, x: np.ndarray, best: float) -> np.ndarray:
    from scipy.special import ndtr

    mean, sd = model.predict(x)
    z = (mean - best) / sd
    density = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
    return np.asarray(sd * (z * ndtr(z) + density))
