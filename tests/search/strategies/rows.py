"""Trials and histories in one line each, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay.search.trial import Facts, History, Report, Trial, TrialStatus
from assay.space import Dimension, Float, Space, Value

LINE = Space((Dimension("x", Float(0.0, 1.0), 0.5),))


def trial(number: int, family: str = "a", score: float | None = None, **more: Any) -> Trial:
    """Completed with a score, running without one, unless told otherwise.  `curve`: {step: score}."""
    config: Mapping[str, Value] = more.pop("config", {"x": round(0.001 * number, 6)})
    status = more.pop("status", TrialStatus.RUNNING if score is None else TrialStatus.COMPLETED)
    curve = tuple(Report(step, value) for step, value in more.pop("curve", {}).items())
    return Trial(number, family, config, status, score=score, curve=curve, **more)


def history(*trials: Trial, seed: int = 0, **facts: Any) -> History:
    known: dict[str, Any] = {"kind": "regression", "n_rows": 100, "n_features": 5, "n_folds": 1, **facts}
    return History(seed, trials, Facts(**known))
