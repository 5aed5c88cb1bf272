"""An ordered list of configurations that did well elsewhere, then small moves around the best ones found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from assay.search.strategies import _local
from assay.search.strategies._asking import ask, random_proposal
from assay.search.strategies._portfolio import starts
from assay.search.trial import History, Proposal, Report, Trial, Verdict
from assay.space import Space


@dataclass(frozen=True)
class Portfolio:
    """Entries that do not fit an installed space are passed over (`_portfolio`)."""

    def propose(
        self, history: History, spaces: Mapping[str, Space], rng: np.random.Generator, n: int
    ) -> list[Proposal]:
        listed = starts(spaces, history.facts.n_rows, history.facts.n_features)

        def draw(seen: History, left: Mapping[str, Space], attempt: int) -> Proposal | None:
            tried = seen.keys(spaces)
            for start in listed:
                if start.family in left and (start.family, spaces[start.family].key(start.config)) not in tried:
                    return start
            return around_best(seen, left, rng, attempt)

        return ask(history, spaces, rng, n, draw)

    def judge(self, history: History, trial: Trial, report: Report) -> Verdict:
        return Verdict.CONTINUE


def around_best(seen: History, left: Mapping[str, Space], rng: np.random.Generator, attempt: int) -> Proposal:
    """A move around one of the three best trials whose family still has something untried."""
    ranked = sorted(
        (t for t in seen.completed if t.family in left),
        key=lambda t: (-(t.score if t.score is not None else 0.0), t.number),
    )
    if not ranked:
        return random_proposal(left, rng)
    chosen = ranked[int(rng.integers(min(3, len(ranked))))]
    space = left[chosen.family]
    step = _local.position(seen.of_family(chosen.family)).step
    config = _local.move(space, space.complete(chosen.config), step, rng, attempt)
    return Proposal(chosen.family, config, f"near trial {chosen.number}")


strategy = Portfolio()
