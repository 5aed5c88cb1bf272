"""BOHB: a Parzen estimator proposes, and trials that lag behind their family are stopped early.

Falkner, Klein, Hutter: BOHB, robust and efficient hyperparameter optimization at scale.  ICML 2018.  Changed: stopping is
asynchronous (see `_rungs`), because waiting for a whole bracket leaves workers idle, and stopped trials stay in one model
below the completed ones, the farthest first, in place of one model per rung.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from assay.search.strategies import _rungs
from assay.search.strategies._asking import ask, random_proposal
from assay.search.trial import History, Proposal, Report, Trial, Verdict
from assay.space import Space


@dataclass(frozen=True)
class Bohb:
    random_share: float = 0.1  # of proposals, a guard against a model misled by early scores

    def propose(
        self, history: History, spaces: Mapping[str, Space], rng: np.random.Generator, n: int
    ) -> list[Proposal]:
        return ask(history, spaces, rng, n, lambda seen, left, attempt: self._draw(seen, left, rng, attempt))

    def judge(self, history: History, trial: Trial, report: Report) -> Verdict:
        return _rungs.verdict(history, trial, report)

    def _draw(self, history: History, spaces: Mapping[str, Space], rng: np.random.Generator, attempt: int) -> Proposal:
        from assay.search.strategies import _tpe

        if rng.random() < self.random_share:
            return random_proposal(spaces, rng)
        family, config = _tpe.suggest(history, spaces, attempt)
        return Proposal(family, config, "TPE")


strategy = Bohb()
