"""How much trouble to take over each of many series, so that all of them are done in time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from assay.errors import TimedOut
from assay.families import TrialContext

# of a fit's time that all series together may take.  What a fit leaves goes to the later ones, so that the six of a trial
# take some two fifths of the time there is: other families want to be tried, too
MOST = 0.2
ENOUGH = 1.0  # seconds in which a fit of however many series is worth beginning


def expected(seconds: float) -> float:
    """Of a fit that looks at each of its series, where so many seconds would be all the trouble it could take."""
    return min(seconds, ENOUGH)


@dataclass
class Pace:
    """A clock over `n` series.  `effort` before each, `done` after it."""

    n: int
    ctx: TrialContext
    ended: int = 0
    used: float = 0.0  # seconds
    seconds: dict[int, float] = field(default_factory=dict)  # of one series, by effort
    level: int = 2
    began: float = 0.0
    room: float = field(init=False)

    def __post_init__(self) -> None:
        self.room = MOST * self.ctx.seconds_left()

    def effort(self) -> int:
        """2: all of it, 1: a quick search, 0: none, take what an earlier series got.

        Where there is no time for a quick search of every series, as many as there is time for have one, spread evenly.
        """
        self.began = time.monotonic()
        each = (self.room - self.used) / max(1, self.n - self.ended)
        if not self.ended or self.seconds[2] <= each:
            self.level = 2
        elif 1 not in self.seconds or self.seconds[1] <= each:  # how quick a quick search is has to be seen
            self.level = 1
        else:
            self.level = int(self.used * self.n < self.room * self.ended)
        return self.level

    def done(self) -> None:
        """Raises TimedOut."""
        took = time.monotonic() - self.began
        self.seconds[self.level] = max(0.7 * self.seconds.get(self.level, took), took)
        self.ended += 1
        self.used += took
        if self.ctx.seconds_left() < 0 and self.ended < self.n:
            raise TimedOut(f"{self.ended} of {self.n} series were fitted in time")
