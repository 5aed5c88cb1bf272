"""From raw model outputs to the answer of a task: classes seen in training, and the constant answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assay.families import Split, Target
from assay.model.graph import Graph, Scope
from assay.quantile.levels import QuantileTarget


@dataclass(frozen=True, eq=False)
class Classes:
    """Which of `n` classes a fold's training rows hold.  Models learn codes 0..len(seen)-1; answers have n columns.

    seen: int64 (p,), ascending, 2 <= p <= n.
    """

    seen: np.ndarray
    n: int

    @staticmethod
    def of(data: Split) -> Classes:
        return Classes(np.unique(data.y).astype(np.int64), data.target.n_classes)

    @property
    def n_seen(self) -> int:
        return len(self.seen)

    def codes(self, y: np.ndarray) -> np.ndarray:
        """Class codes as positions among the seen ones.  y must hold seen classes only."""
        return np.asarray(np.searchsorted(self.seen, y))

    def known(self, y: np.ndarray) -> np.ndarray:
        """bool (n,): rows whose class was seen."""
        return np.asarray(np.isin(y, self.seen))

    def spread(self, p: np.ndarray) -> np.ndarray:
        """(n, n_seen) -> (n, n): a class that was not seen has probability 0."""
        if self.n_seen == self.n:
            return p
        full = np.zeros((len(p), self.n), dtype=p.dtype)
        full[:, self.seen] = p
        return full

    def add_spread(self, scope: Scope, p: str) -> str:
        """`spread` as nodes."""
        if self.n_seen == self.n:
            return p
        place = np.zeros((self.n_seen, self.n), dtype=np.float32)
        place[np.arange(self.n_seen), self.seen] = 1.0
        return scope.add("MatMul", p, scope.const(place))


@dataclass(frozen=True, eq=False)
class Constant:
    """The same answer for every row; answer: (k,)."""

    answer: np.ndarray

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.tile(self.answer, (len(x), 1))

    def to_onnx(self, x: str) -> Graph:
        scope = Scope()
        rows = scope.add("Slice", scope.add("Shape", x), scope.const([0]), scope.const([1]))
        shape = scope.add("Concat", rows, scope.const([len(self.answer)]), axis=0)
        return scope.graph(scope.add("Expand", scope.const(self.answer[None, :], np.float32), shape))


def prior(target: Target, y: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """The best constant answer: (k,) class shares, the mean target, or its quantiles."""
    if isinstance(target, QuantileTarget):
        return np.asarray(np.quantile(np.asarray(y), target.quantiles))
    if target.is_regression:
        return np.array([np.average(y, weights=weight)])
    counts = np.bincount(y, weights=weight, minlength=target.n_classes).astype(np.float64)
    return np.asarray(counts / counts.sum())


def constant_answer(data: Split) -> Constant | None:
    """The constant predictor where nothing else can be learned: one class, one target value, or no varying column."""
    if len(data.y) and np.any(data.y != data.y[0]) and _has_signal(data.x):
        return None
    return Constant(prior(data.target, data.y, data.weight))


def _has_signal(x: np.ndarray) -> bool:
    """Whether any column holds two different values (NaN counts as one)."""
    if x.shape[1] == 0:
        return False
    first = x[:1]
    return bool(np.any((x != first) & ~(np.isnan(x) & np.isnan(first))))


def log_loss(p: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> float:
    """Mean negative log-probability of the true class.  p: (n, k)."""
    picked = np.clip(p[np.arange(len(y)), y], 1e-7, 1.0)
    return float(-np.average(np.log(picked), weights=weight))


def loss(target: Target, prediction: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> float:
    """What every family here minimises: log-loss, or root mean squared error in the scaled target."""
    if target.is_regression:
        return float(np.sqrt(np.average((prediction[:, 0] - y) ** 2, weights=weight)))
    return log_loss(prediction, y, weight)
