"""Genetic search: a steady state without generations, so that any number of trials can run side by side.

Parents are the best of three drawn from the 20 best of the last 200 trials; genes cross uniformly and mutate.  After
Whitley: The GENITOR algorithm (ICGA 1989), with aging by a window as in Real et al.: Regularized evolution for image
classifier architecture search (AAAI 2019).  Changed: parents of two families do not mix, the child takes one's family.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from assay.search.strategies._asking import ask, random_proposal
from assay.search.strategies._genes import RANDOM_GENE, cross, mutate
from assay.search.trial import History, Proposal, Report, Trial, Verdict
from assay.space import Space


@dataclass(frozen=True)
class Genetic:
    population: int = 20
    window: int = 200
    startup: int = 12  # completed trials before there are parents
    crossover: float = 0.8

    def propose(
        self, history: History, spaces: Mapping[str, Space], rng: np.random.Generator, n: int
    ) -> list[Proposal]:
        return ask(history, spaces, rng, n, lambda seen, left, attempt: self._draw(seen, left, rng, attempt))

    def judge(self, history: History, trial: Trial, report: Report) -> Verdict:
        return Verdict.CONTINUE

    def _draw(self, history: History, spaces: Mapping[str, Space], rng: np.random.Generator, attempt: int) -> Proposal:
        alive = [t for t in history.completed if t.family in spaces and spaces[t.family].contains(t.config)]
        if len(alive) < self.startup or rng.random() < RANDOM_GENE:  # the family is a gene as well
            return random_proposal(spaces, rng)
        ranked = sorted(alive[-self.window :], key=lambda t: (-(t.score or 0.0), t.number))[: self.population]
        a, b = _tournament(ranked, rng), _tournament(ranked, rng)
        space = spaces[a.family]
        child = dict(a.config)
        if a.family == b.family and rng.random() < self.crossover:
            child = cross(space, a.config, b.config, rng)
            note = f"child of #{a.number} and #{b.number}"
        else:
            note = f"mutant of #{a.number}"
        return Proposal(a.family, mutate(space, child, rng, 1.0 + attempt / 2), note)


def _tournament(ranked: list[Trial], rng: np.random.Generator) -> Trial:
    return ranked[int(rng.integers(len(ranked), size=3).min())]


strategy = Genetic()
