"""Random search: uniform over families, then over the family's space.  What every other strategy has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from assay.search.strategies._asking import ask, random_proposal
from assay.search.trial import History, Proposal, Report, Trial, Verdict
from assay.space import Space


@dataclass(frozen=True)
class Random:
    """Bergstra, Bengio: Random search for hyper-parameter optimization.  JMLR 13, 2012."""

    def propose(
        self, history: History, spaces: Mapping[str, Space], rng: np.random.Generator, n: int
    ) -> list[Proposal]:
        return ask(history, spaces, rng, n, lambda _, left, attempt: random_proposal(left, rng), defaults=1)

    def judge(self, history: History, trial: Trial, report: Report) -> Verdict:
        return Verdict.CONTINUE


strategy = Random()
