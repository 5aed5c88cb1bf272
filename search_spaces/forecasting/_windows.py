"""Training windows of all histories, scaled each by its own past; the same scaling as nodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assay.errors import FamilyUnavailable
from assay.forecasting.compose import emit_scale
from assay.forecasting.problem import Past
from assay.forecasting.spread import window_scale
from assay.model.graph import Scope

MOST_WINDOWS = 20_000


@dataclass(frozen=True)
class Frame:
    """How a window becomes numbers of a usual size: less its level, by its scale.

    width: of the last values that are used.  season: 1 for none.  level: "last", "mean" (of the last season, or of ten),
    or "season": the level is the value one season ago, and forecasts are changes to it.
    """

    width: int
    season: int
    horizon: int
    level: str = "last"

    def levels(self, x: np.ndarray) -> np.ndarray:
        """(n, 1), or (n, horizon) for "season"."""
        if self.level == "season":
            return x[:, [self.width - self.season + h % self.season for h in range(self.horizon)]]
        k = {"last": 1, "mean": self.season if self.season > 1 else min(10, self.width)}[self.level]
        return np.asarray(x[:, -k:].mean(1, keepdims=True))

    def inputs(self, x: np.ndarray) -> np.ndarray:
        """(n, width) scaled."""
        level = x[:, -1:] if self.level == "season" else self.levels(x)
        return np.asarray((x - level) / window_scale(x, self.season)[:, None])

    def targets(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.asarray((y - self.levels(x)) / window_scale(x, self.season)[:, None])

    def undo(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        return np.asarray(z * window_scale(x, self.season)[:, None] + self.levels(x))

    def last(self, x: np.ndarray) -> np.ndarray:
        """The used values of a family's x (n, 1 + more), float64."""
        return np.asarray(x[:, x.shape[1] - self.width :], np.float64)

    def emit(self, scope: Scope, x: str, whole: int) -> tuple[str, str, str]:
        """(scaled inputs, levels, scale [N, 1]).  whole: columns of x."""
        values = scope.add("Slice", x, scope.const([whole - self.width]), scope.const([whole]), scope.const([1]))
        scale = emit_scale(scope, values, self.season, self.width)
        last = scope.add("Slice", values, scope.const([self.width - 1]), scope.const([self.width]), scope.const([1]))
        if self.level == "season":
            at = np.array([self.width - self.season + h % self.season for h in range(self.horizon)], np.int64)
            level, shift = scope.add("Gather", values, scope.const(at), axis=1), last
        elif self.level == "last":
            level = shift = last
        else:
            k = self.season if self.season > 1 else min(10, self.width)
            part = scope.add(
                "Slice", values, scope.const([self.width - k]), scope.const([self.width]), scope.const([1])
            )
            level = shift = scope.add("ReduceMean", part, scope.const([1]), keepdims=1)
        return scope.add("Div", scope.add("Sub", values, shift), scale), level, scale


def cut(data: Past, width: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(x (n, width), y (n, horizon)) float64: every window of the histories with a known future, newest last.

    Raises FamilyUnavailable when there are none.
    """
    xs, ys = [], []
    for history in data.histories:
        span = width + data.horizon
        if len(history) >= span:
            all_ = np.lib.stride_tricks.sliding_window_view(history, span)
            xs.append(all_[:, :width])
            ys.append(all_[:, width:])
    if not xs:
        longest = max(len(h) for h in data.histories)
        raise FamilyUnavailable(f"histories of {longest} values have no window of {width} with {data.horizon} to come")
    x, y = np.concatenate(xs), np.concatenate(ys)
    if len(x) > MOST_WINDOWS:
        kept = np.sort(rng.permutation(len(x))[:MOST_WINDOWS])
        x, y = x[kept], y[kept]
    return np.array(x), np.array(y)


def fitting_width(data: Past, wanted: int) -> int:
    """The wanted width, less where histories are short: a third of the longest at least is left for windows."""
    longest = max(len(h) for h in data.histories)
    return int(max(2, min(wanted, data.width, (longest - data.horizon) * 2 // 3)))
