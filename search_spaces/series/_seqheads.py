"""What stands on top of features of a series: a ridge with calibrated probabilities, and the pair of both as a predictor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from assay.families import Predictor, Split
from assay.model.graph import Graph, Scope
from search_spaces.tabular._answers import Classes

PENALTIES = np.logspace(-4, 4, 17)  # times the mean eigenvalue
ROWS = 3_000  # of a Gram matrix at most: its eigenvalues take the third power of it


class Features(Protocol):
    """Numbers made of a series."""

    def of(self, x: np.ndarray) -> np.ndarray:
        """x: float32 (n, C, L) -> float32 (n, p)."""
        ...

    def add(self, scope: Scope, x: str) -> str:
        """The same as nodes."""
        ...


@dataclass(frozen=True, eq=False)
class FeaturePredictor:
    """A model over features of the series."""

    features: Features
    model: Predictor

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.model.predict(self.features.of(x))

    def to_onnx(self, x: str) -> Graph:
        scope = Scope()
        return scope.graph(scope.include(self.model.to_onnx(self.features.add(scope, x))))


@dataclass(frozen=True, eq=False)
class RidgePredictor:
    """softmax((x - mean) @ weight + bias).  mean: float32 (p,), weight: float32 (p, k), bias: float32 (k,).

    Reckoned in float64, here and as nodes: on series unlike all others thousands of large terms cancel each other, and a
    temperature or a product of members multiplies what float32 loses of them.
    """

    mean: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    classes: Classes

    def predict(self, x: np.ndarray) -> np.ndarray:
        z = (x.astype(np.float64) - self.mean) @ self.weight.astype(np.float64) + self.bias
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return self.classes.spread(e / e.sum(axis=1, keepdims=True))

    def to_onnx(self, x: str) -> Graph:
        scope = Scope()
        wide, mean, weight, bias = (
            scope.add("Cast", v, to=11) for v in (x, *(scope.const(c) for c in (self.mean, self.weight, self.bias)))
        )
        z = scope.add("Gemm", scope.add("Sub", wide, mean), weight, bias)
        p = scope.add("Cast", scope.add("Softmax", z, axis=-1), to=1)
        return scope.graph(self.classes.add_spread(scope, p))


def fit_ridge(x: np.ndarray, data: Split, seed: int, penalty: float | None = None) -> RidgePredictor:
    """A ridge on class indicators whose scores become probabilities.

    x: float32 (n, p), features of data.y's rows; at least two classes.  The penalty (None: of PENALTIES) and the steepness
    of the softmax are those with the smallest log-loss of the leave-one-out scores, which a ridge gives for nothing
    (Rifkin and Lippert: Notes on Regularized Least Squares. MIT-CSAIL-TR-2007-025).  Rows past ROWS are left out where
    there are as many features.
    """
    classes = Classes.of(data)
    y, weight = classes.codes(data.y), np.ones(len(data.y)) if data.weight is None else data.weight
    if len(y) > ROWS < x.shape[1]:
        kept = np.sort(np.random.default_rng(seed).permutation(len(y))[:ROWS])
        if len(np.unique(y[kept])) == classes.n_seen:
            x, y, weight = x[kept], y[kept], weight[kept]
    weight = weight / weight.mean()
    mean = np.average(x, axis=0, weights=weight)
    z = x - mean
    deviation = np.sqrt(np.average(z * z, axis=0, weights=weight))
    factor = np.where(deviation > 1e-7 * (1 + np.abs(mean)), 1.0 / np.maximum(deviation, 1e-12), 0.0)
    root = np.sqrt(weight)[:, None]
    z = (z * factor * root).astype(np.float32 if z.size > 2e7 else np.float64)
    indicators = np.eye(classes.n_seen)[y]
    centre = np.average(indicators, axis=0, weights=weight)
    wanted = (indicators - centre) * root
    spectrum = _spectrum(z)
    best = min(
        (_judged(spectrum, wanted, root, centre, y, weight, a) for a in (PENALTIES if penalty is None else [penalty])),
        key=lambda found: found[0],
    )
    _, alpha, steepness, shift = best
    coefficients = z.T @ (spectrum.left @ ((spectrum.left.T @ wanted) / (spectrum.values + alpha)[:, None]))
    return RidgePredictor(
        np.asarray(mean, np.float32),
        np.asarray(factor[:, None] * coefficients * steepness, np.float32),
        np.asarray(centre * steepness + shift, np.float32),
        classes,
    )


@dataclass(frozen=True, eq=False)
class _Spectrum:
    """Left singular vectors (n, r) and squared singular values (r,) of the weighed, scaled features."""

    left: np.ndarray
    values: np.ndarray


def _spectrum(z: np.ndarray) -> _Spectrum:
    from scipy.linalg import eigh

    n, p = z.shape
    values, vectors = eigh((z @ z.T if n <= p else z.T @ z).astype(np.float64), driver="evd")
    kept = values > 1e-9 * max(float(values[-1]), 1e-30)
    values, vectors = values[kept], vectors[:, kept]
    return _Spectrum(vectors if n <= p else z @ (vectors / np.sqrt(values)), values)


def _judged(
    spectrum: _Spectrum,
    wanted: np.ndarray,
    root: np.ndarray,
    centre: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    penalty: float,
) -> tuple[float, float, float, np.ndarray]:
    """Log-loss of the leave-one-out scores under the best steepness, the penalty in full, steepness, and shift (k,)."""
    n = len(y)
    alpha = penalty * float(spectrum.values.sum()) / n
    share = spectrum.values / (spectrum.values + alpha)
    fitted = spectrum.left @ (share[:, None] * (spectrum.left.T @ wanted))
    lever = (spectrum.left**2) @ share + root[:, 0] ** 2 / n  # the mean takes its part, too
    scores = (wanted - (wanted - fitted) / np.maximum(1.0 - lever, 1e-6)[:, None]) / root + centre
    loss, steepness, shift = _calibrated(scores, y, weight)
    return loss, alpha, steepness, shift


def _calibrated(scores: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[float, float, np.ndarray]:
    """softmax(steepness * scores + shift) of least log-loss, a little drawn to a steepness of 1, the shift
    strongly to 0: few rows say little of it.  The shift sums to 0."""
    from scipy.optimize import minimize

    k = scores.shape[1]
    share, rows = weight / weight.sum(), np.arange(len(y))
    truth = np.eye(k)[y]

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        steepness = np.exp(parameters[0])
        z = steepness * scores + parameters[1:]
        z = z - z.max(1, keepdims=True)
        log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
        slope = (np.exp(log_p) - truth) * share[:, None]
        n = len(y)
        value = -float(share @ log_p[rows, y]) + (0.02 * parameters[0] ** 2 + 50 * (parameters[1:] ** 2).sum()) / n
        gradient = np.append((slope * scores).sum() * steepness, slope.sum(0))
        gradient += np.append(0.04 * parameters[0], 100 * parameters[1:]) / n
        return value, gradient

    found = minimize(loss, np.append(np.log(4.0), np.zeros(k)), jac=True, method="L-BFGS-B", options={"maxiter": 60})
    return float(found.fun), float(np.exp(found.x[0])), found.x[1:] - found.x[1:].mean()
