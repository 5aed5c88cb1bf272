"""Bayesian optimisation: a Parzen estimator over all families at once, a Gaussian process where one is at home.

The Parzen estimator (TPE) chooses the family and its configuration.  While there are at most 100 trials, every second
time it chooses a family with a purely numeric space of at most eight dimensions, the configuration comes from a Gaussian
process over that family's trials instead: with few points it learns more from each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from assay.search.strategies import _gp
from assay.search.strategies._asking import ask
from assay.search.trial import History, Proposal, Report, Trial, TrialStatus, Verdict
from assay.space import Space

GP_TRIALS = 100  # its cost grows with the cube of the trials, its lead shrinks


@dataclass(frozen=True)
class Bayesian:
    """TPE of Optuna 5 (multivariate, conditional, constant liar) and a Gaussian process with expected improvement."""

    def propose(
        self, history: History, spaces: Mapping[str, Space], rng: np.random.Generator, n: int
    ) -> list[Proposal]:
        return ask(history, spaces, rng, n, lambda seen, left, attempt: _draw(seen, left, rng, attempt))

    def judge(self, history: History, trial: Trial, report: Report) -> Verdict:
        return Verdict.CONTINUE


def _draw(history: History, spaces: Mapping[str, Space], rng: np.random.Generator, attempt: int) -> Proposal:
    from assay.search.strategies import _tpe

    family, config = _tpe.suggest(history, spaces, attempt)
    space = spaces[family]
    trials = [t for t in history.of_family(family) if space.contains(t.config)]
    if attempt < 2 and len(history.trials) <= GP_TRIALS and len(trials) % 2 and _gp.fits(space):
        scored = {t.number for t in history.completed}
        completed = [t for t in trials if t.number in scored]
        without = [t for t in trials if t.number not in scored]
        unknown = [t for t in without if not t.ended or t.status is TrialStatus.STOPPED]
        failed = [t for t in without if t not in unknown]
        expected = _gp.suggest(space, completed, failed, unknown, rng)
        if expected is not None:
            return Proposal(family, expected, "Gaussian process")
    return Proposal(family, config, "TPE")


strategy = Bayesian()
