"""How much trouble to take over each of many series, so that all of them are done in time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from assay.errors import TimedOut
from assay.families import TrialContext

MOST = 0.8  # of the time left that the series to come may take
QUICKER = 3.0  # how much faster the lesser effort is, at least


@dataclass
class Pace:
    """A clock over `n` series.  `effort` before each, `done` after it."""

    n: int
    ctx: TrialContext
    ended: int = 0
    level: int = 2
    seconds: dict[int, float] = field(default_factory=dict)  # of one series, by effort
    began: float = 0.0

    def effort(self) -> int:
        """2: all of it, 1: a quick search, 0: none, take what an earlier series got."""
        self.began = time.monotonic()
        left = MOST * self.ctx.seconds_left() / max(1, self.n - self.ended)
        while self.level > 0 and self.ended and self.expected() > left:
            self.level -= 1
        return self.level

    def expected(self) -> float:
        known = self.seconds.get(self.level)
        return self.seconds.get(self.level + 1, 0.0) / QUICKER if known is None else known

    def done(self) -> None:
        """Raises TimedOut."""
        took = time.monotonic() - self.began
        self.seconds[self.level] = max(0.7 * self.seconds.get(self.level, took), took)
        self.ended += 1
        if self.ctx.seconds_left() < 0 and self.ended < self.n:
            raise TimedOut(f"{self.ended} of {self.n} series were fitted in time")
