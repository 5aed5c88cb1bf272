"""What users get when they name no strategy: a portfolio first, then the family that promises most for its seconds.

Every family's default comes first, cheap ones before dear ones, so that a model is there at once.  Then configurations of
the portfolio alternate with search: the family by its estimated cost for improvement (FLAML, see `_economy`), the
configuration by a local move around the family's best (CFO, see `_local`) or by a Parzen estimator (TPE), in turns.
A family of which no trial would end in the time left is not asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from assay.search.strategies import _economy, _folds, _local
from assay.search.strategies._asking import ask
from assay.search.strategies._portfolio import starts
from assay.search.trial import History, Proposal, Report, Trial, Verdict
from assay.space import Space


@dataclass(frozen=True)
class Auto:
    def propose(
        self, history: History, spaces: Mapping[str, Space], rng: np.random.Generator, n: int
    ) -> list[Proposal]:
        listed = starts(spaces)

        def draw(seen: History, left: Mapping[str, Space], attempt: int) -> Proposal | None:
            able = _economy.affordable(seen, left)
            if attempt == 0 and seen.next_number % 2 == 0:
                start = _untried_start(listed, seen, spaces, able)
                if start is not None:
                    return start
            return _searched(seen, {f: left[f] for f in able}, rng, attempt)

        return ask(history, spaces, rng, n, draw)

    def judge(self, history: History, trial: Trial, report: Report) -> Verdict:
        return Verdict.STOP if _folds.hopeless(history, trial, report) else Verdict.CONTINUE


def _untried_start(
    listed: list[Proposal], seen: History, spaces: Mapping[str, Space], able: list[str]
) -> Proposal | None:
    tried = seen.keys(spaces)
    for start in listed:
        if start.family in able and (start.family, spaces[start.family].key(start.config)) not in tried:
            return start
    return None


def _searched(seen: History, left: Mapping[str, Space], rng: np.random.Generator, attempt: int) -> Proposal:
    from assay.search.strategies import _tpe

    standings = _economy.standings(seen, left)
    names = list(standings)
    family = names[int(rng.choice(len(names), p=[standings[f].share for f in names]))]
    space = left[family]
    position = _local.position(seen.of_family(family))
    if position.best is None:
        return Proposal(family, space.sample(rng), "random: nothing of the family completed yet")
    if rng.random() < 0.5:
        config = _local.move(space, space.complete(position.best.config), position.step, rng, attempt)
        return Proposal(family, config, f"near trial {position.best.number}")
    return Proposal(family, _tpe.suggest_config(seen, family, space, attempt), "TPE")


def explain(history: History) -> str:
    """What was picked and why, in words."""
    families = list(dict.fromkeys(t.family for t in history.trials))
    if not families:
        return "defaults of every family first, cheap ones before dear ones"
    shares = sorted(_economy.standings(history, families).values(), key=lambda s: -s.share)
    told = ", ".join(f"{s.family} {s.share:.0%}" for s in shares[:5])
    return f"{len(history.trials)} trials so far; the next one goes by expected gain per second to: {told}"


strategy = Auto()
