"""Which families deserve more trials when the best of all kinds will be blended: the close ones, cheap before dear.

A family far behind in score hardly ever enters an ensemble with a second configuration, however cheap it is; one close to
the best may, although it never leads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from assay.search.strategies._economy import typical_seconds
from assay.search.trial import Facts, History, Proposal
from assay.space import Space

MOST = 0.4  # share of the time left that one trial may take,
MOST_OF_BEST = 0.8  # and one of the best family, whose estimate its own trials have corrected
LIKE = 0.04  # relative difference of errors that hardly matters in a blend
CONTENDERS = 0.25  # share of the families
LEAST_SHARE = 0.01  # of the searched trials, for any family that can still end in time


def closeness(history: History) -> dict[str, float]:
    """1 for the family of the best trial, falling to 0 for families far behind; only families that completed one.

    The unit is a share of what the best trial lacks of a perfect score: errors of models on the same rows are so alike that
    blending hardly ever gains by one that errs much more, for which one configuration is enough.  Where the folds' scores
    spread more than that, nobody knows who contends; without a perfect score the first quarter of the families does.
    """
    best: dict[str, float] = {}
    for t in history.completed:
        if t.score is not None:
            best[t.family] = max(best.get(t.family, -np.inf), t.score)
    if not best:
        return {}
    top = max(best.values())
    gaps = np.array([top - s for s in best.values()])
    noise = [t.score_std for t in history.completed if t.score == top and t.score_std]
    perfect = history.facts.perfect
    lacks = float(np.quantile(gaps, CONTENDERS)) if perfect is None or perfect < top else LIKE * (perfect - top)
    unit = max(lacks, 0.5 * (noise[0] if noise else 0.0), 1e-12)
    return {f: float(np.exp(-((top - s) / unit))) for f, s in best.items()}


def affordable(history: History, proposal: Proposal, most: float | None = None) -> bool:
    """Whether a trial will take no more than a share of the time left; always without a time limit.

    most: the share.  None: the closer its family is to the best, the less there is that others could do better with the
    time, and the more its own trials have taught what it takes.
    """
    facts = history.facts
    if facts.seconds_left is None or facts.expected is None:
        return True
    near = closeness(history).get(proposal.family, 0.0)
    if most is None:
        most = MOST + (MOST_OF_BEST - MOST) * near
    needed = facts.expected(proposal.family, proposal.config) * _least_share(facts, proposal.family, near)
    return needed <= most * facts.seconds_left


def _least_share(facts: Facts, family: str, near: float) -> float:
    """Of the expected time of a trial, the share that must be there: less than all for a contender that can train shorter."""
    return 1.0 - (1.0 - facts.shortest.get(family, 1.0)) * near


def shares(history: History, families: Mapping[str, Space] | Iterable[str]) -> dict[str, float]:
    """Probability of each family to get the next searched trial; they sum to one.

    Families of which no trial would end in the time left get none, unless that is all of them: then the quickest one.
    families: with their spaces, what a family without a trial would take is known by its default configuration, and one
    that would take more than `MOST` gets none either; nor does it matter how long trials took of a family that
    `keeps_time`, which takes what there is and ends in time with less.  A contender that can train shorter needs less.
    """
    names = list(families)
    facts = history.facts
    seconds = {f: typical_seconds(history.of_family(f)) for f in names}
    first: dict[str, float | None] = {}  # of families that were not tried
    if isinstance(families, Mapping) and facts.expected is not None and facts.seconds_left is not None:
        for f in names:
            if seconds[f] is None or f in facts.keep_time:
                told = facts.expected(f, families[f].complete(families[f].defaults()))
                (first if seconds[f] is None else seconds)[f] = told
    known = [s for s in seconds.values() if s is not None]
    typical = float(np.median(known)) if known else 1.0
    known_seconds = {**seconds, **first}
    cost = {f: max(0.05, typical if s is None else s) for f, s in known_seconds.items()}
    near = closeness(history)
    able = names
    if facts.seconds_left is not None:
        left = facts.seconds_left
        needed = {f: cost[f] * _least_share(facts, f, near.get(f, 0.0)) for f in names}
        able = [f for f in names if needed[f] <= (MOST if f in first else 0.9) * left] or [
            min(names, key=lambda f: (needed[f], names.index(f)))
        ]
    failed = {f for f in able if f not in near and any(t.ended for t in history.of_family(f))}
    weights = np.array([0.0 if f in failed else near.get(f, 0.5) / np.sqrt(cost[f]) for f in able])
    if weights.sum() <= 0:
        weights = np.ones(len(able))
    floor = min(LEAST_SHARE, 0.5 / len(able))
    chances = floor + (1.0 - floor * len(able)) * weights / weights.sum()
    return {f: float(c) for f, c in zip(able, chances, strict=True)}
