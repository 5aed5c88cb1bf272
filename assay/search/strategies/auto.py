"""What users get: good starting points, then the family that promises most per second, searched near and far.

1. Every family's default configuration, in the caller's order (cheap families first).
2. From then on a family is drawn in proportion to 1 / (estimated cost until it improves the best score), see
   `_economy`; families that cannot end in the time left are passed over.
3. Inside the family: a starting point from the portfolio while there are some (three times in five), otherwise in equal
   parts a local move around its best configuration and a draw from its Parzen estimator.

A trial is stopped early only when it is clearly hopeless after whole folds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from assay.search.strategies import _local
from assay.search.strategies._asking import ask
from assay.search.strategies._economy import affordable, standings
from assay.search.strategies._folds import hopeless
from assay.search.strategies._portfolio import starts
from assay.search.trial import History, Proposal, Report, Trial, Verdict
from assay.space import Space


@dataclass(frozen=True)
class Auto:
    """portfolio_share: of proposals in a family that has starting points left; local_share: of the others."""

    portfolio_share: float = 0.6
    local_share: float = 0.5

    def propose(
        self, history: History, spaces: Mapping[str, Space], rng: np.random.Generator, n: int
    ) -> list[Proposal]:
        fitting = [f for f in affordable(history, spaces) if f in spaces]
        tried = history.keys(spaces)
        waiting = [p for p in starts(spaces) if (p.family, spaces[p.family].key(p.config)) not in tried]

        def draw(seen: History, left: Mapping[str, Space], attempt: int) -> Proposal:
            return self._draw(seen, {f: left[f] for f in fitting if f in left} or left, rng, waiting, attempt)

        return ask(history, spaces, rng, n, draw, tried=tried)

    def judge(self, history: History, trial: Trial, report: Report) -> Verdict:
        return Verdict.STOP if hopeless(history, trial, report) else Verdict.CONTINUE

    def _draw(
        self,
        history: History,
        spaces: Mapping[str, Space],
        rng: np.random.Generator,
        waiting: list[Proposal],
        attempt: int,
    ) -> Proposal:
        race = standings(history, spaces)
        family = list(race)[int(rng.choice(len(race), p=[s.share for s in race.values()]))]
        space = spaces[family]
        start = next((p for p in waiting if p.family == family), None)
        if start is not None and rng.random() < self.portfolio_share:
            waiting.remove(start)
            return start
        known = [t for t in history.of_family(family) if space.contains(t.config)]
        here = _local.position(known)
        if here.best is None:
            return Proposal(family, space.sample(rng), "random: no trial of the family completed yet")
        if self._nearly_over(history) or rng.random() < self.local_share:
            config = _local.move(space, dict(here.best.config), here.step, rng, attempt)
            return Proposal(family, config, f"near #{here.best.number}, step {here.step:.2f}")
        from assay.search.strategies import _tpe

        return Proposal(family, _tpe.suggest_config(history, family, space, attempt), "TPE")

    def _nearly_over(self, history: History) -> bool:
        """The last round or two of trials refine what is best; there is no time to learn from anything else."""
        left = history.facts.trials_left
        return left is not None and left <= 2 * history.facts.slots


def explain(history: History) -> str:
    """What the search has done so far and what it favours now, in words."""
    families = list(dict.fromkeys(t.family for t in history.trials))
    if not families:
        return "Nothing tried yet: every family starts with its default configuration, in the order given."
    race = sorted(standings(history, families).values(), key=lambda s: -s.share)
    lines = [_summary(history)]
    fitting = affordable(history, families)
    for s in race:
        best = "nothing completed" if s.best is None else f"best {s.best.score:.6g} (#{s.best.number})"
        seconds = "" if s.seconds is None else f", about {s.seconds:.3g} s a trial"
        chance = f"{s.share:.0%} of the next proposals" if s.family in fitting else "passed over: too slow for the time left"
        lines.append(f"{s.family}: {s.trials} trials, {best}{seconds}; {chance}.")
    last = history.trials[-1]
    lines.append(f"Latest proposal: #{last.number} {last.family}, {last.note or 'no note'}.")
    return "\n".join(lines)


def _summary(history: History) -> str:
    best = history.best()
    counts = f"{len(history.trials)} trials, {len(history.completed)} completed, {len(history.open)} open"
    if best is None:
        return f"{counts}; no score yet."
    return f"{counts}; the best is #{best.number} of {best.family} with a score of {best.score:.6g}."


strategy = Auto()
