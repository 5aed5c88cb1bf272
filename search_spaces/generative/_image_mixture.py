"""A mixture of Gaussians over the principal components of pictures: a family of its own, and the start of another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from assay.families import TrialContext
from assay.generation.parts import Inputs, Pictures, pick

if TYPE_CHECKING:
    from assay.generation.pixels import Levels

MOST_ROWS = 6000


@dataclass(frozen=True, eq=False)
class Points:
    """A mixture of Gaussians over points of e numbers.  weights: (labels, K) of the components; means: (K, e), lower:
    (K, e, e)."""

    weights: np.ndarray
    means: np.ndarray
    lower: np.ndarray

    def log_p(self, points: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Log density of the points (n, e) given the condition (n,)."""
        each, e = np.log(np.maximum(self.weights[y], 1e-12)), points.shape[1]
        for c in range(len(self.means)):
            z = np.linalg.solve(self.lower[c], (points - self.means[c]).T)
            constant = np.log(np.diag(self.lower[c])).sum() + 0.5 * e * np.log(2 * np.pi)
            each[:, c] -= 0.5 * (z**2).sum(0) + constant
        return np.asarray(np.logaddexp.reduce(each, 1))

    def emit(self, inputs: Inputs) -> str:
        """A point, [N, e]; takes e numbers of the noise and one uniform."""
        s, e = inputs.scope, self.means.shape[1]
        sums = np.cumsum(self.weights, 1)[:, :-1]
        if not sums.shape[1]:
            sums = np.full((len(self.weights), 1), 2.0)
        component = pick(s, s.add("Gather", s.const(sums.astype(np.float32)), inputs.given), inputs.u(0))
        lower = s.add("Gather", s.const(self.lower.astype(np.float32)), component)
        moved = s.add("Squeeze", s.add("MatMul", lower, s.add("Unsqueeze", inputs.z(0, e), s.const([2]))), s.const([2]))
        return s.add("Add", moved, s.add("Gather", s.const(self.means.astype(np.float32)), component))


def fit_points(inner: np.ndarray, y: np.ndarray, n_labels: int, components: int, ridge: float, seed: int) -> Points:
    """inner: (n, e); y: (n,) codes of the condition, whose values share the components.  ridge: in units of the widest
    direction's variance."""
    import warnings

    from sklearn.mixture import GaussianMixture

    scale = inner.std(0).max()
    k = max(1, min(components, len(inner) // (4 * inner.shape[1]) + 1))
    model = GaussianMixture(
        k, covariance_type="full", reg_covar=ridge, max_iter=50, random_state=seed, init_params="k-means++"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fifty rounds are enough, converged or not
        share = model.fit(inner / scale).predict_proba(inner / scale)
    weights = np.stack([share[y == c].sum(0) + 1e-6 for c in range(n_labels)])
    lower = np.linalg.cholesky(model.covariances_) * scale
    return Points(weights / weights.sum(1, keepdims=True), model.means_ * scale, lower)


@dataclass(frozen=True, eq=False)
class MixtureImages:
    """mean: (p,), directions: (p, e), left: deviation of what the directions leave over.  points: among the directions."""

    levels: Levels
    mean: np.ndarray
    directions: np.ndarray
    left: float
    points: Points
    shape: tuple[int, int, int]
    noise: int
    uniform: int = 1

    def bits(self, data: Pictures) -> float:
        """Of levels, from the density of dequantised pictures, given the condition."""
        from assay.generation.pixels import dequantised, log_widths

        x = dequantised(data.x_valid, self.levels, np.random.default_rng(0)) - self.mean
        inner = x @ self.directions
        p, e = self.directions.shape
        outside = ((x - inner @ self.directions.T) ** 2).sum(1)
        log_left = -0.5 * outside / self.left**2 - (p - e) * (np.log(self.left) + 0.5 * np.log(2 * np.pi))
        total = self.points.log_p(inner, data.y_valid) + log_left + log_widths(data.x_valid, self.levels)
        return float(-total.mean() / np.log(2) / p)

    def emit(self, inputs: Inputs) -> str:
        s, e = inputs.scope, self.directions.shape[1]
        inner = self.points.emit(inputs)
        flat = s.add(
            "Gemm", inner, s.const(self.directions.T.astype(np.float32)), s.const(self.mean.astype(np.float32))
        )
        rough = s.add("Mul", inputs.z(e, self.noise - e), s.const(np.float32(self.left)))
        # noise outside the directions only
        back = s.const((self.directions @ self.directions.T).astype(np.float32))
        flat = s.add("Add", flat, s.add("Sub", rough, s.add("MatMul", rough, back)))
        from assay.generation.pixels import emit_snapped

        return emit_snapped(s, s.add("Reshape", flat, s.const([-1, *self.shape])), self.levels)


def fit_mixture(
    components: int, kept: float, ridge: float, data: Pictures, ctx: TrialContext, most: int = 1 << 30
) -> MixtureImages:
    """kept: share of the variance that the common directions keep, `most` of them."""
    from assay.generation.pixels import dequantised, fit_levels

    rows = ctx.rng.permutation(len(data.x))[:MOST_ROWS]
    levels = fit_levels(data.x)
    x = dequantised(data.x[rows], levels, ctx.rng)
    mean = x.mean(0)
    values, vectors = np.linalg.eigh(np.cov((x - mean).T))
    values, vectors = np.clip(values[::-1], 0, None), vectors[:, ::-1]
    e = int(np.searchsorted(np.cumsum(values) / values.sum(), kept)) + 1
    e = min(e, x.shape[1] - 1, max(2, len(rows) // 10), most)
    directions = vectors[:, :e]
    left = float(np.sqrt(max(values[e:].mean(), 1e-3)))
    inner = (x - mean) @ directions
    points = fit_points(inner, data.y[rows], data.n_labels, components, ridge, ctx.seed)
    return MixtureImages(levels, mean, directions, left, points, data.x.shape[1:], e + x.shape[1])
