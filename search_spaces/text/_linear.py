"""Linear models over bags of n-grams: solvers for sparse rows, and the predictor with its graph."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.errors import Diverged, TrialStopped
from assay.families import Split, TrialContext
from assay.model.graph import Graph, Scope
from search_spaces.tabular._answers import Classes
from search_spaces.text._bags import Bag

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FEW = 3_000  # training rows up to which all of them help to scale the margins
LOUDEST = 30.0  # logits beyond it say nothing more


@dataclass(frozen=True, eq=False)
class BagPredictor:
    """matrix @ weights + bias, then the link.  weights: float32 (v, k) of each bag, with 16 bits of precision.

    link: "ovr" (each class against the rest, shares made to sum to 1), "softmax", or "linear" for numbers, within
    `bounds`.  Two classes have k = 1, the logit of the second.
    """

    bags: tuple[Bag, ...]
    weights: tuple[np.ndarray, ...]
    bias: np.ndarray
    link: str
    classes: Classes | None = None
    bounds: tuple[float, float] = (-np.inf, np.inf)

    def predict(self, x: np.ndarray) -> np.ndarray:
        z = np.zeros((len(x), len(self.bias)), np.float32) + self.bias
        for bag, weight in zip(self.bags, self.weights, strict=True):
            z += bag.matrix(x) @ weight
        if self.classes is None:
            return np.asarray(np.clip(z, *self.bounds))
        return self.classes.spread(shares(z, self.link))

    def to_onnx(self, x: str) -> Graph:
        scope = Scope()
        wide = scope.add("Cast", x, to=7)
        z = scope.const(self.bias)
        for bag, weight in zip(self.bags, self.weights, strict=True):
            table = scope.add("Cast", scope.const(weight.astype(np.float16)), to=1)
            z = scope.add("Add", z, bag.emit(scope, wide, table))
        if self.classes is None:
            return scope.graph(scope.add("Clip", z, *(scope.const(np.float32(b)) for b in self.bounds)))
        if z_is_one(self.bias):
            second = scope.add("Sigmoid", z)
            p = scope.add("Concat", scope.add("Sub", scope.const(np.float32(1)), second), second, axis=1)
        elif self.link == "softmax":
            p = scope.add("Softmax", z, axis=1)
        else:
            bound = [scope.const(np.float32(b)) for b in (-LOUDEST, LOUDEST)]
            each = scope.add("Sigmoid", scope.add("Clip", z, *bound))
            p = scope.add("Div", each, scope.add("ReduceSum", each, scope.const(np.array([1], np.int64)), keepdims=1))
        return scope.graph(self.classes.add_spread(scope, p))


def z_is_one(bias: np.ndarray) -> bool:
    return len(bias) == 1


def shares(z: np.ndarray, link: str) -> np.ndarray:
    """Class probabilities from margins.  z: (n, k) -> (n, k), or (n, 2) for k = 1."""
    from scipy.special import expit, softmax

    if z.shape[1] == 1:
        second = expit(z)
        return np.hstack([1 - second, second])
    if link == "softmax":
        return np.asarray(softmax(z, axis=1))
    each = expit(np.clip(z, -LOUDEST, LOUDEST))
    return np.asarray(each / each.sum(1, keepdims=True))


def log_count_ratios(x: csr_matrix, y: np.ndarray, n_classes: int, weight: np.ndarray | None) -> np.ndarray:
    """How much more often an n-gram stands in texts of a class than in others.  float32 (v, k), k = 1 for two classes.

    Wang, Manning: Baselines and Bigrams: Simple, Good Sentiment and Topic Classification.  ACL 2012.  Changed: the two counts
    that they add are shared out as the class and the others have n-grams, so that one never seen says nothing of a
    rare class either; for two classes of one size it is the same.
    """
    one = np.eye(n_classes, dtype=np.float64)[y]
    one = one[:, 1:] if n_classes == 2 else one
    w = np.ones(len(y)) if weight is None else weight
    seen = x.copy()
    seen.data = np.ones_like(seen.data)
    inside, outside = seen.T @ (one * w[:, None]), seen.T @ ((1 - one) * w[:, None])
    share = np.clip(inside.sum(0) / max(inside.sum(0)[0] + outside.sum(0)[0], 1e-12), 1e-6, 1 - 1e-6)
    ratio = np.log(2 + inside / share) - np.log(2 + outside / (1 - share))
    return np.asarray(ratio, np.float32)


def fit_margins(
    model: str,
    x: csr_matrix,
    y: np.ndarray,
    n_classes: int,
    C: float,
    data_weight: np.ndarray | None,
    scale: np.ndarray | None,
    ctx: TrialContext,
) -> tuple[np.ndarray, np.ndarray]:
    """One margin a class (one for two classes): weights (v, k) and bias (k,).

    scale: (v, k) factors on the columns for each class, or None.  Looks at the clock between classes.
    """
    k = 1 if n_classes == 2 else n_classes
    weights, bias = np.zeros((x.shape[1], k), np.float32), np.zeros(k, np.float32)
    for c in range(k):
        if ctx.seconds_left() <= 0:
            raise TrialStopped
        positive = y == (1 if n_classes == 2 else c)
        factor = None if scale is None else scale[:, c]
        columns = x if factor is None else _scaled(x, factor)
        fitted = _solver(model, C, ctx.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a solver that stops short of convergence still gives a usable model
            fitted.fit(columns, positive.astype(np.float64) * 2 - 1 if model == "ridge" else positive, data_weight)
        coef = np.ravel(fitted.coef_)
        weights[:, c] = coef if factor is None else coef * factor
        bias[c] = np.ravel(fitted.intercept_)[0]
    return weights, bias


def fit_numbers(model: str, x: csr_matrix, y: np.ndarray, C: float, weight: np.ndarray | None, seed: int) -> Any:
    """Weights (v, 1) and bias (1,) for a numeric target: ridge regression, or the support vector machine's."""
    from sklearn.svm import LinearSVR

    fitted = (
        LinearSVR(C=C, epsilon=0.1, loss="squared_epsilon_insensitive", dual=True, tol=1e-3, random_state=seed)
        if model == "svm"
        else _solver("ridge", C, seed)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted.fit(x, y, weight)
    return np.ravel(fitted.coef_).astype(np.float32)[:, None], np.ravel(fitted.intercept_).astype(np.float32)


def margin_scale(z: np.ndarray, y: np.ndarray) -> float:
    """The factor on margins with the smallest log-loss on rows that they were not fitted on.

    Platt: Probabilistic Outputs for Support Vector Machines, 1999: the slope alone, and his smoothed targets, so that
    few rows without an error do not make the margins infinitely sure.
    """
    from scipy.optimize import minimize_scalar

    k = max(2, z.shape[1])
    smooth = k / (len(y) + 2 * k)
    truth = (1 - smooth) * np.eye(k)[y] + smooth / k

    def loss(log_factor: float) -> float:
        p = shares(z * np.exp(log_factor), "softmax")
        return float(-(truth * np.log(np.clip(p, 1e-9, 1))).sum(1).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-2.0, 3.0), method="bounded").x))


def link_of(z: np.ndarray, y: np.ndarray, link: str) -> tuple[str, float]:
    """The link that tells the classes of rows not fitted on best, and the factor on margins that goes with it.

    link: "softmax" for margins that are no log-odds; "ovr" for those of logistic regressions, each of a class against the rest:
    kept unless the softmax of scaled margins has the smaller log-loss, as with many classes where each says no for itself.
    """
    scale = margin_scale(z, y)
    if link == "ovr":
        rows = np.arange(len(y))
        each, joint = (
            np.log(np.clip(p[rows, y], 1e-9, 1)).mean() for p in (shares(z, link), shares(scale * z, "softmax"))
        )
        if each >= joint:
            return link, 1.0
    return "softmax", scale


def held_out(y: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Rows that a scale is learned from, bool (n,) each: thirds of few rows, a fifth of many."""
    of = rng.integers(0, 3 if len(y) < FEW else 5, len(y))
    of[np.bincount(y)[y] < 3] = -1
    return [of == i for i in (range(3) if len(y) < FEW else range(1))]


def rounded(weights: np.ndarray) -> np.ndarray:
    """To the 16 bits that are stored.  Raises Diverged where they do not do."""
    with np.errstate(over="ignore"):
        small = np.asarray(weights, np.float16).astype(np.float32)
    if not np.isfinite(small).all():
        raise Diverged("the weights of the linear model are not finite; try a stronger penalty")
    return small


def split_bags(weights: np.ndarray, bags: Sequence[Bag]) -> tuple[np.ndarray, ...]:
    """Rows of the joined matrix back to their bags; the row of unknown n-grams weighs nothing."""
    ends = np.cumsum([len(b.idf) for b in bags])[:-1]
    parts = [np.ascontiguousarray(p) for p in np.split(weights, ends)]
    for part in parts:
        part[0] = 0
    return tuple(parts)


def class_codes(data: Split) -> tuple[Classes, np.ndarray]:
    classes = Classes.of(data)
    return classes, classes.codes(data.y)


def _solver(model: str, C: float, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.svm import LinearSVC

    if model == "logistic":
        return LogisticRegression(solver="liblinear", dual=True, C=C, tol=1e-2, max_iter=200, random_state=seed)
    if model == "svm":
        return LinearSVC(C=C, dual=True, tol=1e-2, max_iter=300, random_state=seed)
    return Ridge(alpha=1.0 / C, solver="sparse_cg", tol=1e-3, random_state=seed)


def _scaled(x: csr_matrix, factor: np.ndarray) -> csr_matrix:
    """Columns times factors, sharing the structure."""
    from scipy.sparse import csr_matrix

    return csr_matrix((x.data * factor[x.indices], x.indices, x.indptr), x.shape)
