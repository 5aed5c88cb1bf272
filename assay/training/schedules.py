"""Schedules by name: the factor on a base value (learning rate, dropout, weight decay) by progress through training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Schedule = Callable[[np.ndarray], np.ndarray]


def factors(name: str, progress: np.ndarray) -> np.ndarray:
    """Factors in [0, 1] of the same shape as progress, which runs from 0 (start) to 1 (end of training)."""
    try:
        schedule = SCHEDULES[name]
    except KeyError:
        raise ValueError(f"no schedule is called {name!r}; known: {', '.join(SCHEDULES)}") from None
    return schedule(np.asarray(progress, dtype=np.float64))


def _constant(t: np.ndarray) -> np.ndarray:
    return np.ones_like(t)


def _cosine(t: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.cos(np.pi * t))


def _linear(t: np.ndarray) -> np.ndarray:
    """Warm-up over the first twentieth, then straight down to zero."""
    return np.minimum(0.05 + 0.95 * t / 0.05, (1.0 - t) / 0.95)


def _one_cycle(t: np.ndarray) -> np.ndarray:
    """Up over the first 30 %, then down to nothing, both as half cosines.

    After Smith and Topin, Super-Convergence (2018), with the start factor 1/25 of the common implementations.
    """
    up = 0.04 + 0.96 * 0.5 * (1.0 - np.cos(np.pi * np.minimum(t / 0.3, 1.0)))
    down = 0.5 * (1.0 + np.cos(np.pi * np.clip((t - 0.3) / 0.7, 0.0, 1.0)))
    return np.where(t < 0.3, up, down)


def _exponential(t: np.ndarray) -> np.ndarray:
    return np.asarray(0.01**t)


def _step(t: np.ndarray) -> np.ndarray:
    """A tenth after half of the training, a hundredth after three quarters."""
    return np.where(t < 0.5, 1.0, np.where(t < 0.75, 0.1, 0.01))


def _coslog4(t: np.ndarray) -> np.ndarray:
    """Four cosine waves, each twice as long as the one before.

    Holzmüller, Grinsztajn, Steinwart, Better by Default (NeurIPS 2024), section 3.
    """
    return 0.5 * (1.0 - np.cos(2.0 * np.pi * np.log2(1.0 + 15.0 * t)))


def _flat_cos(t: np.ndarray) -> np.ndarray:
    """Full for the first half, then a half cosine to zero."""
    return 0.5 * (1.0 + np.cos(np.pi * np.maximum(0.0, 2.0 * t - 1.0)))


SCHEDULES: dict[str, Schedule] = {
    "constant": _constant,
    "cosine": _cosine,
    "linear": _linear,
    "one_cycle": _one_cycle,
    "exponential": _exponential,
    "step": _step,
    "coslog4": _coslog4,
    "flat_cos": _flat_cos,
}
