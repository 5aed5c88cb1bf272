"""Metrics under the names people know, and the one score the search knows: higher is better.

Names are scikit-learn's scorer names without `neg_`, with the short forms rmse, mse, mae, rmsle and mape.  Every module
of this package that has a list `metrics` adds to the catalogue; one that has a mapping `more` of names to (kind, function)
lets these metrics serve another kind too.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping

import numpy as np

from assay.metrics._metric import EPS, Function, Metric
from assay.metrics.tabular import auc, average_precision, log_loss

__all__ = [
    "EPS",
    "METRICS",
    "Function",
    "Metric",
    "all_values",
    "auc",
    "average_precision",
    "for_kind",
    "get",
    "log_loss",
    "to_public",
]


def _discover() -> Mapping[str, Metric]:
    found: dict[str, Metric] = {}
    more: dict[str, tuple[str, Function]] = {}
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda m: (m.name != "tabular", m.name)):
        if not module.name.startswith("_"):
            loaded = importlib.import_module(f"{__name__}.{module.name}")
            more |= getattr(loaded, "more", {})
            for metric in loaded.metrics:
                if metric.name in found:
                    raise ValueError(f"metric {metric.name!r} of {module.name} is already there")
                found[metric.name] = metric
    for name, (kind, function) in more.items():
        found[name] = found[name].serving(kind, function)
    return found


METRICS: Mapping[str, Metric] = _discover()


def get(name: str) -> Metric:
    """Raises KeyError for a name that is not in the catalogue."""
    return METRICS[name]


def to_public(name: str, score: float | None) -> float | None:
    """The public value of an internal score."""
    return None if score is None else METRICS[name].to_public(score)


def for_kind(kind: str) -> list[str]:
    return [m.name for m in METRICS.values() if kind in m.kinds]


def all_values(kind: str, y: np.ndarray, prediction: np.ndarray, weight: np.ndarray | None = None) -> dict[str, float]:
    """Every metric of a kind that is defined on these rows, by public name."""
    values = {n: METRICS[n].value(y, prediction, weight) for n in for_kind(kind)}
    return {n: v for n, v in values.items() if np.isfinite(v)}
