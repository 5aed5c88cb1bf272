"""What the search remembers and what it decides, as frozen values.

Inside the search a score is always higher-is-better; `assay.metrics` turns it into what people know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from assay.space import Space, Value, Values


class TrialStatus(StrEnum):
    """Where a trial stands.  The allowed moves are the table in `assay.search.lifecycle`."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED = "stopped"  # ended early by the strategy, a deadline or a user; has no final score
    FAILED = "failed"


TERMINAL = frozenset({TrialStatus.COMPLETED, TrialStatus.STOPPED, TrialStatus.FAILED})


@dataclass(frozen=True)
class Report:
    """Intermediate news of a trial: the mean score so far (of the folds begun) after `step` units of work.

    Steps run from 1 to the trial's `max_steps` = folds x steps per fold; they compare inside one family only.
    """

    step: int
    score: float


class Verdict(StrEnum):
    """What a strategy says to a report."""

    CONTINUE = "continue"
    STOP = "stop"


@dataclass(frozen=True)
class Proposal:
    """A configuration a strategy wants tried.  `note` says in a few words where it came from."""

    family: str
    config: Values
    note: str = ""


@dataclass(frozen=True)
class Trial:
    """One configuration and what is known of it.  `score` is the mean over folds, None until it completed."""

    number: int
    family: str
    config: Mapping[str, Value]
    status: TrialStatus
    score: float | None = None
    score_std: float | None = None
    fold_scores: tuple[float, ...] = ()
    curve: tuple[Report, ...] = ()
    max_steps: int = 1
    seconds: float | None = None  # wall-clock seconds of training, None until it ended
    note: str = ""
    error: str | None = None  # error code of a failed trial
    why: str | None = field(default=None, compare=False)  # what a failed trial said, in words
    size_bytes: int | None = field(default=None, compare=False)  # of its checkpoint, as much as packing it costs

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL

    def key(self, space: Space) -> str:
        """`space.key(self.config)`, made once: a history of thousands of trials is keyed for every proposal."""
        kept: tuple[Space, str] | None = self.__dict__.get("_key")
        if kept is None or kept[0] is not space:
            kept = space, space.key(self.config)
            self.__dict__["_key"] = kept  # beside the fields: it takes no part in comparisons, nor does a copy have it
        return kept[1]


@dataclass(frozen=True)
class Facts:
    """What a strategy may know of the data and of the budget that is left."""

    kind: str  # "binary", "multiclass", "regression", ...
    n_rows: int
    n_features: int
    n_folds: int
    n_classes: int = 0
    side: int = 0  # of pictures as they are decoded, in pixels; 0 where there are none
    chars: float = 0.0  # of a row's texts on average; 0 where there are none
    seconds_left: float | None = None  # of the search's own budget; None: no time limit
    trials_left: int | None = None
    slots: int = 1  # trials that run side by side
    perfect: float | None = None  # the score that nothing exceeds, where there is one
    keep_time: frozenset[str] = frozenset()  # families that take what time there is and end in it with less
    # of families whose schedules shrink to the time there is: the share of the expected time with which a trial still pays
    shortest: Mapping[str, float] = field(default_factory=dict)
    # (family, configuration) -> expected wall-clock seconds of a whole trial; None where no clock may matter
    expected: Callable[[str, Mapping[str, Value]], float] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class History:
    """Everything a strategy may look at: the job's seed and its trials, running ones included, by number."""

    seed: int
    trials: tuple[Trial, ...]
    facts: Facts = field(default_factory=lambda: Facts("regression", 0, 0, 1))

    def __post_init__(self) -> None:
        if any(a.number >= b.number for a, b in zip(self.trials, self.trials[1:], strict=False)):
            raise ValueError("trials must be sorted by number")

    @property
    def completed(self) -> tuple[Trial, ...]:
        """Trials with a final score, in order of their number."""
        return tuple(
            t for t in self.trials if t.status is TrialStatus.COMPLETED and t.score is not None and np.isfinite(t.score)
        )

    @property
    def open(self) -> tuple[Trial, ...]:
        """Trials queued or running."""
        return tuple(t for t in self.trials if not t.ended)

    @property
    def next_number(self) -> int:
        return self.trials[-1].number + 1 if self.trials else 0

    def best(self) -> Trial | None:
        return max(self.completed, key=lambda t: (t.score, -t.number), default=None)

    def of_family(self, family: str) -> tuple[Trial, ...]:
        return tuple(t for t in self.trials if t.family == family)

    def keys(self, spaces: Mapping[str, Space]) -> set[tuple[str, str]]:
        """(family, configuration key) of every trial so far, to see repeats."""
        return {(t.family, t.key(spaces[t.family])) for t in self.trials if t.family in spaces}
