"""Models of single targets side by side: a fold as that of one target, and all answers in one graph."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.data.texts import Tokens, tokens
from assay.errors import TrialStopped
from assay.families import Predictor, Split, TrialContext
from assay.model.graph import Graph, Scope
from assay.multitask.targets import Truth


@dataclass(frozen=True)
class Part:
    """A predictor of one target; mean and deviation undo the scaling of a number."""

    predictor: Predictor
    mean: float
    deviation: float


@dataclass(frozen=True)
class Together:
    """The answers of all parts side by side."""

    parts: Sequence[Part]

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.hstack([np.asarray(p.predictor.predict(x), np.float64) * p.deviation + p.mean for p in self.parts])

    def to_onnx(self, x: str) -> Graph:
        scope = Scope()
        answers = []
        for part in self.parts:
            out = scope.include(part.predictor.to_onnx(x))
            if (part.mean, part.deviation) != (0.0, 1.0):
                scaled = scope.add("Mul", out, scope.const(np.float32(part.deviation)))
                out = scope.add("Add", scaled, scope.const(np.float32(part.mean)))
            answers.append(out)
        return scope.graph(scope.add("Concat", *answers, axis=1))


class Share:
    """The context of one of several fits in a row: a share of the time, and no reports, whose scores do not compare."""

    def __init__(self, ctx: TrialContext, seconds: float, max_steps: int = 1 << 30) -> None:
        self.device, self.rng, self.seed, self.threads = ctx.device, ctx.rng, ctx.seed, ctx.threads
        self.max_steps = max_steps
        self._until = math.inf if math.isinf(seconds) else time.monotonic() + seconds

    def report(self, step: int, score: float) -> None:
        if self.seconds_left() <= 0:
            raise TrialStopped

    def seconds_left(self) -> float:
        return self._until - time.monotonic()


def single(data: Split, i: int) -> tuple[Split, float, float]:
    """The fold as that of one target: the rows with its label, numbers scaled; with the mean and deviation of these."""
    truth, truth_valid = data.y, data.y_valid
    assert isinstance(truth, Truth) and isinstance(truth_valid, Truth)
    (rows, y), (rows_valid, y_valid) = truth.column(i), truth_valid.column(i)
    mean, deviation = 0.0, 1.0
    if not truth.targets[i].classes:
        mean, deviation = (float(y.mean()), float(y.std()) or 1.0) if len(y) else (0.0, 1.0)
        y, y_valid = (y - mean) / deviation, (y_valid - mean) / deviation
    split = Split(
        x=_taken(data.x, rows),
        y=y,
        x_valid=_taken(data.x_valid, rows_valid),
        y_valid=y_valid,
        target=truth.targets[i].single,
        weight=None if data.weight is None else data.weight[rows],
        weight_valid=None if data.weight_valid is None else data.weight_valid[rows_valid],
        groups=data.groups,
    )
    return split, mean, deviation


def _taken(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of a matrix; those of token numbers still know what was counted of their texts."""
    if not isinstance(x, Tokens) or x.origin is None:
        return np.asarray(x[rows])
    return tokens(np.asarray(x)[rows], x.blocks, [(encoded, places[rows]) for encoded, places in x.origin])
