"""Mixture of Gaussians over the scores of a table, with shares of codes of its own in every component."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from assay.errors import Diverged
from assay.families import Cost, Shape, TrialContext
from assay.generation.columns import Parts
from assay.generation.parts import DrawnParts, Inputs, Rows, or_given, pick
from assay.space import Choice, Float, Int

ITERATIONS = 40
MOST_ROWS = 5000  # rows the mixture is fitted to; more change its few numbers little
FEW_ROWS = 2000  # up to here two starts are tried
TOLERANCE = 1e-3  # nats a row


@dataclass(frozen=True)
class MixtureConfig:
    """ridge: added to every variance.  prior: pseudo-counts of the overall shares in every component's."""

    components: Annotated[int, Int(1, 60, log=True)] = 12
    covariance: Annotated[str, Choice("full", "diagonal")] = "full"
    ridge: Annotated[float, Float(1e-4, 0.1, log=True)] = 1e-2
    prior: Annotated[float, Float(0.1, 20.0, log=True)] = 1.0


@dataclass(frozen=True, eq=False)
class Mixture:
    """weights: (K,); means: (K, q); lower: (K, q, q); shares: for each code part (K, k).  gates: as in the layout."""

    weights: np.ndarray
    means: np.ndarray
    lower: np.ndarray
    shares: tuple[np.ndarray, ...]
    gates: tuple[tuple[int, int] | None, ...]
    target: int | None
    noise: int
    uniform: int

    def bits(self, data: Rows) -> float:
        """Of codes and scores together, per part."""
        log_p = _log_joint(self, data.valid)
        total = np.logaddexp.reduce(log_p, axis=1)
        return float(-total.mean() / np.log(2) / max(1, len(self.shares) + self.means.shape[1]))

    def emit(self, inputs: Inputs) -> DrawnParts:
        s = inputs.scope
        cumulated = np.cumsum(self.weights)[None, :-1]
        sums = ""
        if len(self.weights) == 1:
            cumulated = np.array([[2.0]])  # never reached: there is one component
        elif self.target is not None:  # row 0: nothing given; row c + 1: components reweighted by their share of code c
            joint = self.weights[:, None] * self.shares[self.target]
            given = joint / np.maximum(joint.sum(0, keepdims=True), 1e-12)
            cumulated = np.concatenate([cumulated, np.cumsum(given.T, 1)[:, :-1]])
            row = s.add("Add", inputs.given, s.const(np.int64(1)))
            sums = s.add("Gather", s.const(cumulated.astype(np.float32)), row)
        component = pick(s, sums or s.const(cumulated.astype(np.float32)), inputs.u(0))
        codes = []
        for j, shares in enumerate(self.shares):
            table = s.const(np.cumsum(shares, 1)[:, :-1].astype(np.float32))
            code = pick(s, s.add("Gather", table, component), inputs.u(1 + j))
            codes.append(or_given(s, inputs.given, code) if j == self.target else code)
        if not self.noise:
            return DrawnParts(tuple(codes), "")
        lower = s.add("Gather", s.const(self.lower.astype(np.float32)), component)  # (N, q, q)
        noise = s.add("Unsqueeze", inputs.noise, s.const([2]))
        moved = s.add("Squeeze", s.add("MatMul", lower, noise), s.const([2]))
        return DrawnParts(
            tuple(codes), s.add("Add", moved, s.add("Gather", s.const(self.means.astype(np.float32)), component))
        )


class GaussianMixtureRows:
    name: ClassVar[str] = "gaussian_mixture_rows"
    tasks: ClassVar[frozenset[str]] = frozenset({"generation"})
    lane: ClassVar[str] = "cpu"
    data: ClassVar[str] = "rows"
    Config: ClassVar[type] = MixtureConfig
    reference: ClassVar[str] = (
        "Hunt, Jorgensen, Mixture model clustering using the MULTIMIX program, Aust. N.Z. J. Statistics 41, 1999"
    )

    def recipe(self, config: MixtureConfig) -> Any:
        return None

    def steps(self, config: MixtureConfig) -> int:
        return 1

    def cost(self, config: MixtureConfig, shape: Shape) -> Cost:
        n, d, k = shape.n_rows, shape.n_features, config.components
        return Cost(0.1 + ITERATIONS * 4e-9 * n * k * d * (4 + d / 4), 24 * n * (k + d) + 8 * k * d * d + (1 << 20))

    def fit(self, config: MixtureConfig, data: Rows, ctx: TrialContext) -> Mixture:
        """Expectation and maximisation; of two starts (for few rows) the better one by held-out likelihood."""
        if len(data.train) > MOST_ROWS:
            rows = np.sort(ctx.rng.choice(len(data.train), MOST_ROWS, replace=False))
            data = Rows(data.layout, data.train.take(rows), data.valid)
        starts = 2 if len(data.train) <= FEW_ROWS else 1
        fits = [_fit(config, data, np.random.default_rng([ctx.seed, start]), ctx) for start in range(starts)]
        found = min(fits, key=lambda m: m.bits(data))
        if not np.isfinite(found.bits(data)):
            raise Diverged("the mixture's likelihood is not finite; more ridge or fewer components help")
        return found


def _fit(config: MixtureConfig, data: Rows, rng: np.random.Generator, ctx: TrialContext) -> Mixture:
    train, layout = data.train, data.layout
    n, q = train.scores.shape
    k = max(1, min(config.components, n // 10))
    z = np.where(train.known, train.scores, 0.0).astype(np.float64)
    share = _start(train, k, rng)
    hots = [
        (train.codes[:, j : j + 1] == np.arange(size)[None]).astype(np.float64) for j, size in enumerate(layout.sizes)
    ]
    model, before = None, -np.inf
    for _ in range(ITERATIONS):
        count = share.sum(0) + 1e-9
        shares = tuple((share.T @ h + config.prior * h.mean(0)) / (count + config.prior)[:, None] for h in hots)
        # a score counts where its gate is open only
        seen = share.T @ train.known + 1e-9
        means = share.T @ np.where(train.known, z, 0.0) / seen
        lower = np.zeros((k, q, q))
        for c in range(k) if q else ():
            centred = np.where(train.known, z - means[c], 0.0)
            if config.covariance == "full":
                weight = share[:, c : c + 1]
                pairs = (weight * train.known).T @ train.known.astype(np.float64) + 1e-9
                matrix = (weight * centred).T @ centred / pairs
            else:
                matrix = np.diag((share[:, c] @ centred**2) / seen[c])
            lower[c] = _cholesky(matrix, config.ridge)
        model = Mixture(count / count.sum(), means, lower, shares, layout.gates, layout.target, q, 1 + len(hots))
        log_p = _log_joint(model, train)
        total = np.logaddexp.reduce(log_p, axis=1)
        share = np.exp(log_p - total[:, None])
        if total.mean() - before < TOLERANCE or ctx.seconds_left() <= 0:
            break
        before = float(total.mean())
    assert model is not None
    return model


def _start(train: Parts, k: int, rng: np.random.Generator) -> np.ndarray:
    """Shares (n, k) after the distance to k rows drawn far from each other (k-means++)."""
    blocks = [np.where(train.known, train.scores, 0.0)]
    for j in range(train.codes.shape[1]):
        blocks.append((train.codes[:, j : j + 1] == np.arange(train.codes[:, j].max() + 1)[None]) * 0.7)
    x = np.concatenate(blocks, 1)
    centres = [x[rng.integers(len(x))]]
    distance = ((x - centres[0]) ** 2).sum(1)
    all_distances = [distance]
    for _ in range(k - 1):
        p = distance / distance.sum() if distance.sum() > 0 else None
        centres.append(x[rng.choice(len(x), p=p)])
        all_distances.append(((x - centres[-1]) ** 2).sum(1))
        distance = np.minimum(distance, all_distances[-1])
    nearest = np.argmin(np.stack(all_distances, 1), 1)
    return np.asarray(0.9 * (nearest[:, None] == np.arange(k)[None]) + 0.1 / k)


def _cholesky(matrix: np.ndarray, ridge: float) -> np.ndarray:
    for factor in (1.0, 10.0, 100.0, 1000.0):
        try:
            return np.asarray(np.linalg.cholesky(matrix + factor * ridge * np.eye(len(matrix))))
        except np.linalg.LinAlgError:
            continue
    return np.diag(np.sqrt(np.clip(np.diag(matrix), 0, None) + ridge))


def _log_joint(m: Mixture, rows: Parts) -> np.ndarray:
    """log of weight times density of every row in every component, (n, K).  A score that does not count is left out."""
    found = np.tile(np.log(m.weights), (len(rows), 1))
    for j, shares in enumerate(m.shares):
        found += np.log(np.maximum(shares, 1e-9)).T[rows.codes[:, j]]
    q = m.means.shape[1]
    if not q:
        return found
    from scipy.linalg import solve_triangular

    patterns, which = np.unique(rows.known, axis=0, return_inverse=True)
    for i, pattern in enumerate(patterns):
        if not pattern.any():
            continue
        at = np.flatnonzero(which.ravel() == i)
        scores = rows.scores[at][:, pattern].astype(np.float64)
        for c in range(len(m.weights)):
            lower = m.lower[c]
            if not pattern.all():
                lower = np.linalg.cholesky((lower @ lower.T)[np.ix_(pattern, pattern)])
            left = solve_triangular(lower, (scores - m.means[c][pattern]).T, lower=True, check_finite=False)
            constant = np.log(np.diag(lower)).sum() + 0.5 * pattern.sum() * np.log(2 * np.pi)
            found[at, c] -= 0.5 * (left**2).sum(0) + constant
    return found


family = GaussianMixtureRows()
