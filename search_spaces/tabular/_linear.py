"""What linear models share: inputs kept within reach of the training range, the affine predictor, the solvers' care."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.errors import Diverged
from assay.families import Split
from assay.model.graph import Graph, Scope
from search_spaces.tabular._answers import Classes

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Reach:
    """Every column clipped to its training range, widened by a share of its width.  low, high: float32 (d,).

    A linear answer grows without end with its inputs; so one absurd cell cannot ruin a row, and far rows get the
    answer at the edge of what the data can say.
    """

    low: np.ndarray
    high: np.ndarray

    @staticmethod
    def of(x: np.ndarray, margin: float) -> Reach:
        low, high = x.min(axis=0).astype(np.float64), x.max(axis=0).astype(np.float64)
        width = margin * (high - low)
        return Reach((low - width).astype(np.float32), (high + width).astype(np.float32))

    def clip(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip(x, self.low, self.high))

    def add(self, scope: Scope, x: str) -> str:
        """`clip` as nodes."""
        return scope.add("Min", scope.add("Max", x, scope.const(self.low)), scope.const(self.high))


@dataclass(frozen=True, eq=False)
class AffinePredictor:
    """clip(x) @ weight + bias, then a softmax for classes.  weight: float32 (d, k), bias: float32 (k,)."""

    reach: Reach
    weight: np.ndarray
    bias: np.ndarray
    classes: Classes | None

    def predict(self, x: np.ndarray) -> np.ndarray:
        out = np.asarray(self.reach.clip(x.astype(np.float32, copy=False)) @ self.weight + self.bias)
        if self.classes is None:
            return out
        e = np.exp(out - out.max(axis=1, keepdims=True))
        return self.classes.spread(e / e.sum(axis=1, keepdims=True))

    def to_onnx(self, x: str) -> Graph:
        scope = Scope()
        out = scope.add("Gemm", self.reach.add(scope, x), scope.const(self.weight), scope.const(self.bias))
        if self.classes is None:
            return scope.graph(out)
        return scope.graph(self.classes.add_spread(scope, scope.add("Softmax", out, axis=-1)))


def regression_answer(data: Split, coef: np.ndarray, intercept: float, margin: float = 1.0) -> AffinePredictor:
    """coef: (d,); margin: see Reach.  Raises Diverged where a coefficient is not finite."""
    weight = np.asarray(coef, dtype=np.float32).reshape(-1, 1)
    return _checked(AffinePredictor(Reach.of(data.x, margin), weight, np.array([intercept], dtype=np.float32), None))


def affine_answer(data: Split, coef: np.ndarray, intercept: np.ndarray, margin: float = 1.0) -> AffinePredictor:
    """Several numbers at once.  coef: (d, k); intercept: (k,); margin: see Reach.  Raises Diverged."""
    weight, bias = np.ascontiguousarray(coef, dtype=np.float32), np.asarray(intercept, dtype=np.float32)
    return _checked(AffinePredictor(Reach.of(data.x, margin), weight, bias, None))


def class_answer(
    data: Split, classes: Classes, coef: np.ndarray, intercept: np.ndarray, margin: float = 1.0
) -> AffinePredictor:
    """coef: (n_seen, d), or (1, d) for two classes; margin: see Reach.  Raises Diverged as `regression_answer`."""
    if len(coef) == 1:  # a sigmoid is the softmax over (0, z)
        coef, intercept = np.vstack([np.zeros_like(coef), coef]), np.append(0.0, intercept)
    weight, bias = np.ascontiguousarray(coef.T, dtype=np.float32), np.asarray(intercept, dtype=np.float32)
    return _checked(AffinePredictor(Reach.of(data.x, margin), weight, bias, classes))


def _checked(predictor: AffinePredictor) -> AffinePredictor:
    if not (np.isfinite(predictor.weight).all() and np.isfinite(predictor.bias).all()):
        raise Diverged("the coefficients of the linear model are not finite; try a stronger penalty")
    return predictor


def solve(fit: Callable[[int], Any], iterations: int, more: Callable[[float], bool]) -> Any:
    """Run fit(iterations); while it stops short of convergence and `more(seconds it took)`, give it four times as many.

    A solver cut short still gives a usable (early-stopped) model, so that is noted in the log and not an error; what
    does not stay finite is caught where the coefficients are read.  At most three runs.
    """
    from sklearn.exceptions import ConvergenceWarning

    for attempt in range(3):
        began = time.monotonic()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = fit(iterations * 4**attempt)
        for w in caught:
            if not issubclass(w.category, (ConvergenceWarning, RuntimeWarning)):
                warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)
        short = any(issubclass(w.category, ConvergenceWarning) for w in caught)
        if not short or not more(time.monotonic() - began):
            break
    if short:
        log.info("%s stopped after %d iterations, short of convergence", type(model).__name__, iterations * 4**attempt)
    return model


def time_for_four(seconds_left: Callable[[], float]) -> Callable[[float], bool]:
    """Whether a run four times as long as the last one still fits; a minute is the most it may take."""
    return lambda seconds: 4.5 * seconds < min(60.0, seconds_left())
