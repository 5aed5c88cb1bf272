"""Which family is worth the next trial: the estimated cost until it improves the best score (ECI).

Wang, Wu, Weimer, Zhu: FLAML, a fast and lightweight AutoML library.  MLSys 2021, section 4.2.  Changed: scores have no
known scale, so a family's first score counts as an improvement of the typical spread of scores; cost still being spent
by open trials counts at once, so that parallel asks spread out; every family keeps a small share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from assay.search.trial import History, Trial

LEAST_SECONDS = 0.05  # of one trial: below it the search itself costs as much
LEAST_SHARE = 0.02  # of proposals, for any family


@dataclass(frozen=True)
class Standing:
    """A family in the race.  Costs are seconds, or trials when the job is limited by trials alone."""

    family: str
    trials: int
    completed: int
    best: Trial | None
    seconds: float | None  # typical wall-clock seconds of a whole trial; None before one ended
    spent: float
    improvement_cost: float  # expected cost until it improves the best score of all families
    share: float  # probability of being chosen


def standings(history: History, families: Iterable[str]) -> dict[str, Standing]:
    """Every family's standing, in the order given; the shares sum to one."""
    names = list(families)
    counts_trials = history.facts.seconds_left is None and history.facts.trials_left is not None
    ended = [t.seconds for t in history.trials if t.seconds is not None]
    typical = float(np.median(ended)) if ended else 1.0
    scores = sorted(t.score for t in history.completed if t.score is not None)
    spread = max(scores[-1] - scores[len(scores) // 2], 1e-9 * max(1.0, abs(scores[-1]))) if scores else 1.0
    top = scores[-1] if scores else 0.0
    found: dict[str, Standing] = {}
    for family in names:
        trials = history.of_family(family)
        seconds = typical_seconds(trials)
        price = 1.0 if counts_trials else max(LEAST_SECONDS, typical if seconds is None else seconds)
        found[family] = _standing(family, trials, seconds, price, counts_trials, top, spread)
    return _with_shares(found)


def typical_seconds(trials: Iterable[Trial]) -> float | None:
    """Median seconds of the last five completed trials; of stopped and failed ones if none completed."""
    ended = [t for t in trials if t.ended and t.seconds is not None]
    whole = [t for t in ended if t.score is not None] or ended
    return float(np.median([t.seconds for t in whole[-5:] if t.seconds is not None])) if whole else None


def _standing(
    family: str,
    trials: tuple[Trial, ...],
    seconds: float | None,
    price: float,
    counts_trials: bool,
    top: float,
    spread: float,
) -> Standing:
    spent, at_best, before_best = 0.0, 0.0, 0.0
    best: Trial | None = None
    gain = spread
    completed = 0
    for trial in trials:
        spent += price if counts_trials or trial.seconds is None else max(LEAST_SECONDS, trial.seconds)
        score = trial.score
        if score is None or not np.isfinite(score):
            continue
        completed += 1
        if best is None or best.score is None or score > best.score:
            gain = spread if best is None or best.score is None else score - best.score
            before_best, at_best = at_best, spent
            best = trial
    cost = max(spent - at_best, at_best - before_best, price)
    if best is not None and best.score is not None and best.score < top:
        cost = max(cost, (top - best.score) * (spent - before_best) / gain)
    if best is None and any(t.ended for t in trials):  # nothing but failures so far
        cost = 3.0 * max(spent, price) * len(trials)
    return Standing(family, len(trials), completed, best, seconds, spent, cost, 0.0)


def _with_shares(found: Mapping[str, Standing]) -> dict[str, Standing]:
    if not found:
        return {}
    inverse = np.array([1.0 / s.improvement_cost for s in found.values()])
    floor = min(LEAST_SHARE, 0.5 / len(found))
    shares = floor + (1.0 - floor * len(found)) * inverse / inverse.sum()
    return {
        s.family: Standing(
            s.family, s.trials, s.completed, s.best, s.seconds, s.spent, s.improvement_cost, float(share)
        )
        for s, share in zip(found.values(), shares, strict=True)
    }
