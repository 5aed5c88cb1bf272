"""Classical forecasters as what they are once their parameters are fixed: linear maps of the last values.

A fitted filter is probed with unit windows, and the map `forecast = bias + window @ map` is what predicts and what is
delivered; each series has its own, and a series nobody knows gets the one of the series that is most like all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from assay.model.graph import Graph, Scope

TINY = 1e-6  # smallest value a logarithm is taken of
LARGEST = 60.0  # logarithm that is raised to a number at most
MOST_NUMBERS = 4_000_000  # of all maps of a model; of more series each shares the general one


@dataclass(frozen=True)
class Wish:
    """Windows are prepared by nobody: families of forecasters take them as they are."""

    def fit(self, *_: object, **__: object) -> object:
        raise TypeError("forecasters are fitted on histories, not on rows")


@dataclass(frozen=True, eq=False)
class Map:
    """matrix: float64 (width, horizon); bias: (horizon,); is_log: it maps logarithms to logarithms."""

    matrix: np.ndarray
    bias: np.ndarray
    is_log: bool = False


def probe(
    filter_: Callable[[np.ndarray], np.ndarray], width: int, is_log: bool = False, length: int | None = None
) -> Map:
    """The map of a filter that is affine in its window.  filter_: (n, values) -> (n, horizon).

    length: of the history the filter was fitted on; where that is shorter than the window, what lies before it is
    made up (`assay.forecasting.panel.window`), and the map does not look at it.
    """
    seen = width if length is None else max(1, min(width, length))
    bias = filter_(np.zeros((1, seen)))[0]
    matrix = np.zeros((width, len(bias)))
    matrix[width - seen :] = filter_(np.eye(seen)) - bias
    return Map(matrix, bias, is_log)


def likely(criteria: Sequence[float]) -> np.ndarray:
    """Weights of models by their AICc that sum to 1: a near tie is not decided by chance.

    Burnham, Anderson: Multimodel Inference: Understanding AIC and BIC in Model Selection.  Sociological Methods & Research
    33 (2004).
    """
    least = min(criteria)
    weights = np.array([np.exp(-0.5 * min(c - least, 100.0)) if np.isfinite(c) else 0.0 for c in criteria])
    return np.asarray(weights / weights.sum() if weights.sum() else np.eye(len(criteria))[0])


def reach(history: np.ndarray, season: int) -> int:
    """How many last values a filter fitted on this history may look at: all of them, and some made up ones where a
    filter could not start on so few."""
    return max(len(history), 2 * season + 8)


@dataclass(frozen=True, eq=False)
class Maps:
    """A predictor.  maps: one a series, the last one for unknown series; or one alone for all."""

    maps: Sequence[Map]

    def predict(self, x: np.ndarray) -> np.ndarray:
        out = np.empty((len(x), len(self.maps[0].bias)))
        code = self._code(x[:, 0])
        for c in np.unique(code):
            m, rows = self.maps[int(c)], code == c
            values = x[rows, 1:].astype(np.float64)
            if m.is_log:
                values = np.log(np.maximum(values, TINY))
            found = values @ m.matrix + m.bias
            out[rows] = np.exp(np.minimum(found, LARGEST)) if m.is_log else found
        return out

    def _code(self, code: np.ndarray) -> np.ndarray:
        last = len(self.maps) - 1
        known = (code >= 0) & (code < last)
        return np.where(known, code, last).astype(np.int64)

    def to_onnx(self, x: str) -> Graph:
        """Values are centred before the product, so that float32 loses no digits to a high level."""
        scope = Scope()
        n, width = len(self.maps), len(self.maps[0].matrix)
        code = scope.add("Slice", x, scope.const([0]), scope.const([1]), scope.const([1]))  # [N, 1]
        values = scope.add("Slice", x, scope.const([1]), scope.const([1 + width]), scope.const([1]))
        last = scope.const(np.float32(n - 1))
        known = scope.add(
            "And", scope.add("GreaterOrEqual", code, scope.const(np.float32(0))), scope.add("Less", code, last)
        )
        index = scope.add("Squeeze", scope.add("Cast", scope.add("Where", known, code, last), to=7), scope.const([1]))

        def of_series(numbers: np.ndarray) -> str:
            return scope.add("Gather", scope.const(numbers.astype(np.float32)), index, axis=0)

        logs = np.array([[m.is_log] for m in self.maps])
        some, every = bool(logs.any()), bool(logs.all())
        is_log = scope.add("Gather", scope.const(logs), index, axis=0) if some and not every else ""
        if some:
            in_logs = scope.add("Log", scope.add("Max", values, scope.const(np.float32(TINY))))
            values = in_logs if every else scope.add("Where", is_log, in_logs, values)
        level = scope.add("ReduceMean", values, scope.const([1]), keepdims=1)
        rest = scope.add("Unsqueeze", scope.add("Sub", values, level), scope.const([1]))  # [N, 1, width]
        product = scope.add("MatMul", rest, of_series(np.stack([m.matrix for m in self.maps])))
        product = scope.add("Squeeze", product, scope.const([1]))
        ones = scope.add("Mul", level, of_series(np.stack([m.matrix.sum(0) for m in self.maps])))
        out = scope.add("Add", scope.add("Add", product, ones), of_series(np.stack([m.bias for m in self.maps])))
        if some:
            raised = scope.add("Exp", scope.add("Min", out, scope.const(np.float32(LARGEST))))
            out = raised if every else scope.add("Where", is_log, raised, out)
        return scope.graph(out)


def share(maps: Sequence[Map]) -> Maps:
    """Maps of all series, and the middle one for unknown series (the one nearest to the mean of all)."""
    if len(maps) == 1:
        return Maps(maps)
    middle = np.mean([m.matrix for m in maps], axis=0)
    general = min(maps, key=lambda m: (m.is_log, float(np.abs(m.matrix - middle).sum())))
    general = Map(general.matrix, np.zeros_like(general.bias) if not general.is_log else general.bias, general.is_log)
    if maps[0].matrix.size * len(maps) > MOST_NUMBERS:
        return Maps([general])
    return Maps([*maps, general])
