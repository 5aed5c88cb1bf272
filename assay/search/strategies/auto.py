"""What users get when they name no strategy: a portfolio in order of merit, then search where it may still pay.

The cheapest family's default comes first, so that a model is there at once.  Then the portfolio in its order, the default
of every family among it, past whatever would take too much of the time left.  Variants of a family, but for those among the
first entries, are tried only while its best trial is not far behind the best of all: an ensemble gains from different
families more than from more of a weak one.  For the same reason, before variants of what was tried are searched, the
cheapest entry of a family that was not tried is, if it ends in time at all; and a family that the portfolio does not know
waits, unless it is cheap, until nothing of it is left.
Every fourth trial, and all after the portfolio, are searched: the family by how close and how cheap it is, the
configuration by a local move around the family's best (CFO, see `_local`) or, once enough of it was seen, by a Parzen
estimator (TPE), in turns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from assay.search.strategies import _folds, _local
from assay.search.strategies._asking import ask
from assay.search.strategies._merit import affordable, closeness, shares
from assay.search.strategies._portfolio import starts
from assay.search.trial import Facts, History, Proposal, Report, Trial, Verdict
from assay.space import Space

UNLISTED = "default of a family beside the portfolio"
SEARCH_EVERY = 4  # trials, while the portfolio lasts
HEAD = 3  # entries of the portfolio that are tried however far behind others of their family were
UNLISTED_AFTER = 8  # entries of the portfolio: where the defaults of families that it does not know come in
CHEAP = 0.1  # share of the time left that such a default may take there; a dearer one comes after all entries
LAST = 0.75  # share of the time left that a trial may take at most
AFFORDING = 6  # draws of the search until one is taken that would end too late


@dataclass(frozen=True)
class Auto:
    def propose(
        self, history: History, spaces: Mapping[str, Space], rng: np.random.Generator, n: int
    ) -> list[Proposal]:
        listed = _listed(spaces, history.facts)

        def draw(seen: History, left: Mapping[str, Space], attempt: int) -> Proposal | None:
            if attempt == 0 and (seen.next_number % SEARCH_EVERY or len(seen.completed) < len(left)):
                start = _untried_start(listed, seen, spaces, left) or _cheapest_new(listed, seen, left)
                if start is not None:
                    return start
            for more in range(AFFORDING):
                found = _searched(seen, left, rng, attempt + more)
                if affordable(seen, found, LAST):
                    break
            return found

        return ask(history, spaces, rng, n, draw, defaults=1)

    def judge(self, history: History, trial: Trial, report: Report) -> Verdict:
        return Verdict.STOP if _folds.hopeless(history, trial, report) else Verdict.CONTINUE


def _listed(spaces: Mapping[str, Space], facts: Facts) -> list[Proposal]:
    """The portfolio, with the defaults of families that it does not know."""
    listed = starts(spaces, facts.n_rows, facts.n_features)
    known = {p.family for p in listed}
    note = UNLISTED if listed else "default"  # where it knows none there is nothing to wait for
    others = [Proposal(f, s.complete(s.defaults()), note) for f, s in spaces.items() if f not in known]
    return listed[:UNLISTED_AFTER] + others + listed[UNLISTED_AFTER:]


def _untried_start(
    listed: list[Proposal], seen: History, spaces: Mapping[str, Space], left: Mapping[str, Space]
) -> Proposal | None:
    tried = seen.keys(spaces)
    near = closeness(seen)
    dear: Proposal | None = None  # the first one that the portfolio does not know
    for place, start in enumerate(listed):
        if start.family not in left or (start.family, spaces[start.family].key(start.config)) in tried:
            continue
        is_behind = place >= HEAD and near.get(start.family, 1.0) < 0.1
        if is_behind or not affordable(seen, start):
            continue
        if start.note != UNLISTED or affordable(seen, start, CHEAP):
            return start
        dear = dear or start
    return dear


def _cheapest_new(listed: list[Proposal], seen: History, left: Mapping[str, Space]) -> Proposal | None:
    """Of families that the portfolio knows and no trial was started of."""
    expected = seen.facts.expected
    if expected is None:
        return None
    begun = {t.family for t in seen.trials}
    new = [p for p in listed if p.family in left and p.family not in begun and p.note != UNLISTED]
    best = min(new, key=lambda p: expected(p.family, p.config), default=None)
    return best if best is not None and affordable(seen, best, LAST) else None


def _searched(seen: History, left: Mapping[str, Space], rng: np.random.Generator, attempt: int) -> Proposal:
    from assay.search.strategies import _tpe

    chances = shares(seen, left)
    names = list(chances)
    family = names[int(rng.choice(len(names), p=list(chances.values())))]
    space = left[family]
    position = _local.position(seen.of_family(family))
    if position.best is None and not seen.of_family(family):
        return Proposal(family, space.complete(space.defaults()), UNLISTED)
    if position.best is None:
        return Proposal(family, space.sample(rng), "random: nothing of the family completed yet")
    # TPE draws blindly until it has seen enough of a family, and blind draws of what the portfolio has begun seldom pay
    if sum(t.ended for t in seen.of_family(family)) < _tpe.STARTUP or rng.random() < 0.5:
        config = _local.move(space, space.complete(position.best.config), position.step, rng, attempt)
        return Proposal(family, config, f"near trial {position.best.number}")
    return Proposal(family, _tpe.suggest_config(seen, family, space, attempt), "TPE")


def explain(history: History) -> str:
    """What was picked and why, in words."""
    families = list(dict.fromkeys(t.family for t in history.trials))
    if not families:
        return "a quick default first, then a portfolio of configurations that did well on many tables"
    found = sorted(shares(history, families).items(), key=lambda s: -s[1])
    told = ", ".join(f"{family} {share:.0%}" for family, share in found[:5])
    return f"{len(history.trials)} trials so far; a searched one goes, by closeness to the best and by cost, to: {told}"


strategy = Auto()
