"""What the members of a blend tell together beyond their mean: a smooth correction, learned from out-of-fold predictions.

A second level over the members (Wolpert: Stacked Generalization.  Neural Networks 5, 1992) that starts from their blend and adds
to it, so that it can only be a little better or not there at all: to a number, a shift; to the log-probabilities of
classes, a shift for each.  The shift is linear in what the members say, plus radial functions around rows of the data
(Williams, Seeger: Using the Nyström Method to Speed Up Kernel Machines.  NeurIPS 2000).  It is smooth and bounded, other
than trees over predictions would be: the last digits of a member move it as little as they move the blend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from assay.metrics import Metric
from assay.model.graph import Scope

ROWS = 2_000  # validation rows below which nothing is corrected: chance would be
MOST_ROWS = 20_000  # more change it little and cost seconds
MOST_CELLS = 24_000  # rows by classes, likewise
FEATURES = 100  # numbers that members tell of a row; distances between longer rows tell little
LANDMARKS = 150
GAMMAS = (0.5, 2.0)  # of exp(-gamma d²), d² the mean square distance over features in deviations
RIDGES = {"classes": (1.0, 10.0), "number": (3.0, 10.0, 30.0, 100.0)}
LINEAR = 0.1  # of a deviation: how much less the ridge spares the linear part
REACH = 4.0  # deviations beyond which a member's answer counts as so far: what lies there was not seen
LEAST = 1e-4  # smallest probability that is told apart
FLOOR = 1e-7  # smallest probability of a blend that a logarithm is taken of
STEPS = 20  # of the accelerated descent for classes
PARTS = 3  # of the rows: each is judged by what the others teach
GAIN = 1e-3  # relative gain of the loss on rows not used for fitting that it must bring, and one standard error of it
JITTER = 1e-3  # on the diagonal of the landmarks' kernel, which keeps the factors small enough for float32


@dataclass(frozen=True, eq=False)
class Correction:
    """centre, scale: of the features (f,).  landmarks (l, f), in deviations.  linear (f, k), radial (l, k).

    k: 1 for a number, in its unit; or the classes.
    """

    centre: np.ndarray
    scale: np.ndarray
    landmarks: np.ndarray
    gamma: float
    linear: np.ndarray
    radial: np.ndarray

    def apply(self, base: np.ndarray, predictions: Sequence[np.ndarray], n_classes: int) -> np.ndarray:
        """The corrected blend (n, k) of a blend and its members' predictions, each (n, k)."""
        a = _scaled(features(predictions, n_classes), self.centre, self.scale)
        shift = a @ self.linear + _near(a, self.landmarks, self.gamma) @ self.radial
        return _shifted(base, shift, n_classes)

    def add_to(self, scope: Scope, base: str, predictions: Sequence[str], n_classes: int) -> str:
        """The same in a graph: the value of the corrected blend."""
        columns = []
        for p in predictions:
            if not n_classes:
                columns.append(p)
                continue
            logs = scope.add("Log", scope.add("Max", p, scope.const(np.float32(LEAST))))
            if n_classes == 2:  # the second less the first
                logs = scope.add("MatMul", logs, scope.const(np.array([[-1.0], [1.0]], np.float32)))
            columns.append(logs)
        told = scope.add("Concat", *columns, axis=1)
        a = scope.add("Div", scope.add("Sub", told, scope.const(self.centre[None])), scope.const(self.scale[None]))
        a = scope.add("Clip", a, scope.const(np.float32(-REACH)), scope.const(np.float32(REACH)))
        own = scope.add("ReduceSum", scope.add("Mul", a, a), scope.const(np.array([1], np.int64)), keepdims=1)
        cross = scope.add("MatMul", a, scope.const(-2.0 * self.landmarks.T))
        squares = scope.add("Add", scope.add("Add", own, cross), scope.const((self.landmarks**2).sum(1)[None]))
        squares = scope.add("Max", squares, scope.const(np.float32(0)))
        near = scope.add("Exp", scope.add("Mul", squares, scope.const(np.float32(-self.gamma))))
        shift = scope.add(
            "Add",
            scope.add("MatMul", a, scope.const(self.linear)),
            scope.add("MatMul", near, scope.const(self.radial)),
        )
        if not n_classes:
            return scope.add("Add", base, shift)
        logs = scope.add("Log", scope.add("Max", base, scope.const(np.float32(FLOOR))))
        return scope.add("Softmax", scope.add("Add", logs, shift), axis=1)


def features(predictions: Sequence[np.ndarray], n_classes: int) -> np.ndarray:
    """What members tell of each row (n, f): numbers, log-odds of two classes, or log-probabilities of more."""
    if not n_classes:
        return np.concatenate(predictions, 1)
    logs = [np.log(np.maximum(p, LEAST)) for p in predictions]
    return np.concatenate([q[:, 1:] - q[:, :1] for q in logs] if n_classes == 2 else logs, 1)


def fit_correction(
    y: np.ndarray,
    predictions: Sequence[np.ndarray],
    base: np.ndarray,
    n_classes: int,
    metric: Metric,
    rng: np.random.Generator,
    weight: np.ndarray | None = None,
    in_time: Callable[[], bool] = lambda: True,
) -> Correction | None:
    """The correction that is better than the blend on rows it was not fitted to; None where it is not, or time is out.

    y: numbers or codes (n,); predictions: of each member (n, k); base: of the blend (n, k).  Better: by squared error or log-loss,
    clearly, and no worse by the job's metric.
    """
    told = features([p[:1] for p in predictions], n_classes).shape[1]
    if len(y) < ROWS or len(predictions) < 2 or told > FEATURES:
        return None
    kind = "classes" if n_classes else "number"
    most = max(ROWS, MOST_CELLS // n_classes) if n_classes else MOST_ROWS
    if len(y) > most:
        rows = np.sort(rng.choice(len(y), most, replace=False))
        y, base, predictions = y[rows], base[rows], [p[rows] for p in predictions]
        weight = None if weight is None else weight[rows]
    w = np.ones(len(y)) if weight is None else weight / weight.mean()
    x = features(predictions, n_classes)
    centre, spread = x.mean(0), x.std(0)
    scale = np.where(spread > 0, spread, 1.0)
    a = _scaled(x, centre, scale)
    landmarks = a[rng.choice(len(a), LANDMARKS, replace=False)]
    solve = _classes if n_classes else _number
    part = rng.permutation(len(y)) % PARTS
    before = _losses(y, base, n_classes)
    best: tuple[float, float, float, np.ndarray] | None = None
    for gamma in GAMMAS:
        basis, _ = _basis(a, landmarks, gamma)
        grams = [_gram(basis[part == i], w[part == i]) for i in range(PARTS)]
        for ridge in RIDGES[kind]:
            corrected = np.empty_like(base)
            for i, gram in enumerate(grams):
                if not in_time():
                    return None
                rest, judged = part != i, part == i
                found = solve(basis[rest], sum(grams) - gram, y[rest], base[rest], w[rest], ridge)
                corrected[judged] = _shifted(base[judged], basis[judged] @ found, n_classes)
            loss = float(np.average(_losses(y, corrected, n_classes), weights=w))
            if best is None or loss < best[0]:
                best = loss, gamma, ridge, corrected
    if best is None:
        return None
    _, gamma, ridge, corrected = best
    gains = w * (before - _losses(y, corrected, n_classes))
    least = max(GAIN * float(np.mean(w * before)), float(np.std(gains)) / len(y) ** 0.5)
    if gains.mean() < least or metric.score(y, corrected, weight) < metric.score(y, base, weight):
        return None
    basis, root = _basis(a, landmarks, gamma)
    found = solve(basis, _gram(basis, w), y, base, w, ridge)
    f = a.shape[1]
    return Correction(centre, scale, landmarks, gamma / f, LINEAR * found[:f], root @ found[f:])


def _scaled(x: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip((x - centre) / scale, -REACH, REACH))


def _near(a: np.ndarray, landmarks: np.ndarray, gamma: float) -> np.ndarray:
    squares = (a**2).sum(1)[:, None] + (landmarks**2).sum(1)[None] - 2.0 * a @ landmarks.T
    return np.asarray(np.exp(-gamma * np.maximum(squares, 0.0)))


def _basis(a: np.ndarray, landmarks: np.ndarray, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Functions of every row (n, f + l) whose ridge is the kernel's, and what turns nearness into the last l of them."""
    scaled = gamma / a.shape[1]
    values, vectors = np.linalg.eigh(_near(landmarks, landmarks, scaled))
    root = vectors / np.sqrt(np.maximum(values, 0.0) + JITTER)
    return np.concatenate([LINEAR * a, _near(a, landmarks, scaled) @ root], 1), root


def _gram(basis: np.ndarray, w: np.ndarray) -> np.ndarray:
    return np.asarray((basis * w[:, None]).T @ basis)


def _number(
    basis: np.ndarray, gram: np.ndarray, y: np.ndarray, base: np.ndarray, w: np.ndarray, ridge: float
) -> np.ndarray:
    """Ridge regression of what the blend leaves.  (f + l, 1), in the unit of y."""
    left = basis.T @ (w * (y - base[:, 0]))
    return np.asarray(np.linalg.solve(gram + ridge * np.eye(len(gram)), left)[:, None])


def _classes(
    basis: np.ndarray, gram: np.ndarray, y: np.ndarray, base: np.ndarray, w: np.ndarray, ridge: float
) -> np.ndarray:
    """Multinomial regression from the blend's log-probabilities on.  (f + l, k).

    Steps by an upper bound of the curvature (Böhning: Multinomial Logistic Regression Algorithm.  AISM 44, 1992), the same for all steps, with
    Nesterov's momentum.
    """
    basis, share = basis.astype(np.float32), w.astype(np.float32)[:, None]  # half of the time, and digits to spare
    logs, target = np.log(np.maximum(base, FLOOR)).astype(np.float32), np.eye(base.shape[1], dtype=np.float32)[y]
    inverse = np.linalg.inv(0.5 * gram + ridge * np.eye(len(gram))).astype(np.float32)
    now = ahead = np.zeros((basis.shape[1], base.shape[1]), np.float32)
    pace = 1.0
    for _ in range(STEPS):
        slope = basis.T @ (share * (target - softmax(logs + basis @ ahead))) - np.float32(ridge) * ahead
        following = ahead + inverse @ slope
        faster = (1.0 + (1.0 + 4.0 * pace**2) ** 0.5) / 2.0
        ahead = following + np.float32((pace - 1.0) / faster) * (following - now)
        now, pace = following, faster
    return now.astype(np.float64)


def _shifted(base: np.ndarray, shift: np.ndarray, n_classes: int) -> np.ndarray:
    return softmax(np.log(np.maximum(base, FLOOR)) + shift) if n_classes else base + shift


def softmax(z: np.ndarray) -> np.ndarray:
    """Rows (n, k) to shares that sum to 1."""
    e = np.exp(z - z.max(1, keepdims=True))
    return np.asarray(e / e.sum(1, keepdims=True))


def _losses(y: np.ndarray, p: np.ndarray, n_classes: int) -> np.ndarray:
    if not n_classes:
        return np.asarray((y - p[:, 0]) ** 2)
    return np.asarray(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-15)))
