"""A trial context for tests: remembers reports, stops where it is told to, runs out of time when it is told to."""

from __future__ import annotations

import math
import time

import numpy as np

from assay.errors import TrialStopped


class ToyContext:
    """A `TrialContext` without a service.

    stop_at: the first step whose report raises TrialStopped.  seconds: time until the fit must end, from now on.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        max_steps: int = 1_000_000,
        stop_at: float = math.inf,
        seconds: float = math.inf,
        device: str = "cpu",
        threads: int = 1,
    ) -> None:
        self.device = device
        self.seed = seed
        self.rng = np.random.default_rng(seed)
        self.max_steps = max_steps
        self.threads = threads
        self.reports: list[tuple[int, float]] = []
        self._stop_at = stop_at
        self._deadline = time.monotonic() + seconds

    def report(self, step: int, score: float) -> None:
        self.reports.append((int(step), float(score)))
        if step >= self._stop_at:
            raise TrialStopped

    def seconds_left(self) -> float:
        return self._deadline - time.monotonic()
