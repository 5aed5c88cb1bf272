"""What boosting libraries share: patience, the course of one fit, and predictors made of summed trees."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from assay.data.quick import LOOKED_AT, ROUNDS, ROWS
from assay.errors import TrialStopped
from assay.families import Shape, TrialContext
from assay.model.graph import Graph, Scope
from assay.model.trees import Forest, add_forest
from search_spaces.tabular._answers import Classes

REPORT_EVERY = 10  # rounds
PREPARING = 0.5  # seconds a fold that deriving columns takes, and that selecting among a few dozen takes
SELECTED = 0.3  # of the columns that are left by selecting among many; a few dozen mostly stay
MANY = 100  # columns
NOTABLE = 1e-3  # relative gain that renews patience: a curve that creeps on below it costs more than it brings


def patience(n_rows: int, learning_rate: float) -> int:
    """Rounds without gain before boosting stops: 150 at rate 0.05, fewer for many rows or high rates, at least 20.

    After the adaptive rule of AutoGluon (300 x min(1, 10000 / rows), at least 20), halved for short budgets.
    """
    quick = min(2.0, max(0.5, 0.05 / learning_rate))
    return int(max(20, 150 * quick * min(1.0, 10_000 / max(1, n_rows))))


def preparing(shape: Shape, derived: bool, select: bool) -> tuple[float, float]:
    """What making and choosing columns is expected to cost: (seconds a fold, columns that are left)."""
    columns = float(shape.n_features)
    seconds = PREPARING * derived
    if select:
        rows = min(shape.n_rows, ROWS)
        seconds += PREPARING + ROUNDS * LOOKED_AT * columns * (1.2e-8 * rows + 1.5e-5)
        columns = columns if columns < MANY else max(float(MANY), SELECTED * columns)
    return seconds, columns


@dataclass
class Course:
    """Watches one fit round by round: best round, patience, reports and the deadline.  `after` says whether to go on."""

    ctx: TrialContext
    patience: int
    best_round: int = 0
    best_loss: float = np.inf
    rounds: int = 0
    notable_round: int = 0
    notable_loss: float = np.inf
    began: float = field(default_factory=time.monotonic)

    def after(self, loss: float | None) -> bool:
        """Take in the validation loss of the next round.  False: stop here and keep `best_round` rounds.

        None: there are no validation rows, and every round is kept.
        """
        self.rounds += 1
        if loss is None:
            self.best_round = self.notable_round = self.rounds
        elif loss < self.best_loss or self.best_round == 0:
            self.best_loss, self.best_round = loss, self.rounds
        if self.best_loss < self.notable_loss * (1.0 - NOTABLE) or self.rounds == 1:
            self.notable_loss, self.notable_round = self.best_loss, self.rounds
        if self.rounds - self.notable_round >= self.patience:
            return False
        if self.rounds % REPORT_EVERY == 0:
            try:
                self.ctx.report(self.rounds, -self.best_loss)
            except TrialStopped:
                return False
        per_round = (time.monotonic() - self.began) / self.rounds
        return self.ctx.seconds_left() > 3 * per_round

    def close(self) -> None:
        """Report the end, unless that round was reported already."""
        if self.rounds % REPORT_EVERY:
            try:
                self.ctx.report(self.rounds, -self.best_loss)
            except TrialStopped:
                return


@dataclass(frozen=True, eq=False)
class BoostedPredictor:
    """raw(x): float64 (n, m), the library's own sums; forest: the same as arrays (made when it is asked for).

    m = 1 for regression and two classes (the logit of the second), one logit per seen class otherwise.  shift: float64 (m,),
    taken off the sums: what weighing the classes in training added.
    """

    raw: Callable[[np.ndarray], np.ndarray]
    forest: Callable[[], Forest]
    classes: Classes | None
    best_step: int = 0  # rounds kept
    shift: np.ndarray | None = None

    def predict(self, x: np.ndarray) -> np.ndarray:
        rows = np.ascontiguousarray(x, dtype=np.float32)
        raw = self.raw(rows).reshape(len(rows), -1)
        if self.classes is None:
            return raw
        if self.shift is not None:
            raw = raw - self.shift
        if self.classes.n_seen == 2:
            p = 1.0 / (1.0 + np.exp(-np.clip(raw, -80.0, 80.0)))
            return self.classes.spread(np.hstack([1.0 - p, p]))
        e = np.exp(raw - raw.max(axis=1, keepdims=True))
        return self.classes.spread(e / e.sum(axis=1, keepdims=True))

    def to_onnx(self, x: str) -> Graph:
        scope = Scope()
        out = add_forest(scope, self.forest(), x)
        if self.classes is None:
            return scope.graph(out)
        if self.shift is not None:
            out = scope.add("Sub", out, scope.const(self.shift[None].astype(np.float32)))
        if self.classes.n_seen == 2:
            p = scope.add("Sigmoid", out)
            out = scope.add("Concat", scope.add("Sub", scope.const(1.0), p), p, axis=1)
        else:
            out = scope.add("Softmax", out, axis=-1)
        return scope.graph(self.classes.add_spread(scope, out))


@dataclass(frozen=True, eq=False)
class ClassWeights:
    """How much a row of each seen class counts in training: its share to the power -power, 1 in the mean.  (n_seen,).

    Probabilities learned so belong to other shares of the classes; `shift` brings them back (Elkan: The Foundations of
    Cost-Sensitive Learning.  IJCAI 2001, theorem 2), so that weighing changes what trees look at and not what they claim.
    """

    factors: np.ndarray

    @staticmethod
    def of(kind: str, codes: np.ndarray, n_seen: int) -> ClassWeights | None:
        """kind: "none", "root" or "balanced"."""
        power = {"none": 0.0, "root": 0.5, "balanced": 1.0}[kind]
        shares = np.bincount(codes, minlength=n_seen) / max(1, len(codes))
        if not power or not (shares > 0).all():
            return None
        factors = shares**-power
        return ClassWeights(factors / (factors @ shares))

    def rows(self, codes: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
        own = self.factors[codes]
        return np.asarray(own if weight is None else own * weight)

    @property
    def shift(self) -> np.ndarray:
        logs = np.log(self.factors)
        return np.asarray(logs[1:] - logs[:1] if len(logs) == 2 else logs)
