"""A fixed list of good starting configurations, then local moves around the best trials.

Feurer et al.: Auto-sklearn 2.0 (JMLR 23, 2022) and Erickson et al.: TabArena (NeurIPS 2025) for why a list goes a long
way.  Ours is `assay/search/portfolio.json`; it knows the families for tables, others start from their defaults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from assay.search.strategies import _local
from assay.search.strategies._asking import ask, random_proposal
from assay.search.strategies._portfolio import Entry, starts
from assay.search.trial import History, Proposal, Report, Trial, Verdict
from assay.space import Space


@dataclass(frozen=True)
class Portfolio:
    """entries: the list to start with (None: the shipped one); leaders: trials whose neighbours are tried afterwards."""

    entries: Sequence[Entry] | None = None
    leaders: int = 8

    def propose(
        self, history: History, spaces: Mapping[str, Space], rng: np.random.Generator, n: int
    ) -> list[Proposal]:
        tried = history.keys(spaces)
        waiting = [p for p in starts(spaces, self.entries) if (p.family, spaces[p.family].key(p.config)) not in tried]
        return ask(
            history, spaces, rng, n, lambda seen, left, _: self._draw(seen, left, rng, waiting), tried=tried
        )

    def judge(self, history: History, trial: Trial, report: Report) -> Verdict:
        return Verdict.CONTINUE

    def _draw(
        self, history: History, spaces: Mapping[str, Space], rng: np.random.Generator, waiting: list[Proposal]
    ) -> Proposal:
        while waiting:
            start = waiting.pop(0)
            if start.family in spaces:
                return start
        known = [t for t in history.completed if t.family in spaces and spaces[t.family].contains(t.config)]
        if not known:
            return random_proposal(spaces, rng)
        ranked = sorted(known, key=lambda t: (-(t.score or 0.0), t.number))[: self.leaders]
        around = ranked[int(rng.integers(len(ranked), size=2).min())]
        step = _local.position(history.of_family(around.family)).step
        config = _local.move(spaces[around.family], dict(around.config), step, rng)
        return Proposal(around.family, config, f"near #{around.number}")


strategy = Portfolio()
