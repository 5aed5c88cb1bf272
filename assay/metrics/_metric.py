"""What a metric is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

EPS = 1e-15  # probabilities are clipped to [EPS, 1 - EPS] in logarithms, as in scikit-learn

# (truth, prediction, weight) -> value.  For tables: int64 codes (n,) or float64 targets (n,), and (n, k) probabilities or
# (n, 1) values; other kinds of task say in their own module what truth and prediction are
Function = Callable[[Any, Any, "np.ndarray | None"], float]


@dataclass(frozen=True)
class Metric:
    """A metric by its public name.  kinds: the target kinds it serves."""

    name: str
    kinds: frozenset[str]
    greater_is_better: bool
    function: Function
    about: str
    unbounded: bool = False  # no value is the best there can be

    @property
    def perfect(self) -> float | None:
        """The internal score that nothing exceeds; None where there is no such."""
        return None if self.unbounded else 1.0 if self.greater_is_better else 0.0

    def serving(self, kind: str, function: Function) -> Metric:
        """The same for one more kind, whose truth has an attribute `targets`: several targets at once."""
        single = self.function

        def either(y: Any, prediction: Any, weight: np.ndarray | None) -> float:
            return (function if hasattr(y, "targets") else single)(y, prediction, weight)

        return replace(self, kinds=self.kinds | {kind}, function=either)

    def value(self, y: Any, prediction: Any, weight: np.ndarray | None = None) -> float:
        """The public value; NaN where the metric is undefined (one class only, say)."""
        return float(self.function(y, prediction, weight))

    def score(self, y: Any, prediction: Any, weight: np.ndarray | None = None) -> float:
        """The internal score: higher is better."""
        return self.to_score(self.value(y, prediction, weight))

    def to_score(self, value: float) -> float:
        return value if self.greater_is_better else -value

    def to_public(self, score: float) -> float:
        return score if self.greater_is_better else -score
