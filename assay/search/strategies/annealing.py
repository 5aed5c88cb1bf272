"""Simulated annealing: several chains that walk to better neighbours, and at first to worse ones too.

Kirkpatrick, Gelatt, Vecchi: Optimization by simulated annealing.  Science 220, 1983.  Trial number t belongs to chain
t mod `chains`; the state of a chain is replayed from the history, its coin tosses are drawn from (job seed, number).
Geometric cooling; a chain without progress starts again from the best configuration, half as warm as at first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from assay.search.strategies._asking import ask, random_proposal
from assay.search.strategies._genes import mutate
from assay.search.strategies._seeds import uniform_of
from assay.search.trial import History, Proposal, Report, Trial, TrialStatus, Verdict
from assay.space import Space


@dataclass(frozen=True)
class Annealing:
    chains: int = 3
    startup: int = 10  # completed trials that set the temperature and the starting points
    cooling: float = 0.96  # of the temperature, each trial
    patience: int = 20  # trials of one chain without progress before it starts again
    family_move: float = 0.1  # chance, while hot, of a step to another family's best configuration

    def propose(
        self, history: History, spaces: Mapping[str, Space], rng: np.random.Generator, n: int
    ) -> list[Proposal]:
        return ask(history, spaces, rng, n, lambda seen, left, attempt: self._draw(seen, left, rng, attempt))

    def judge(self, history: History, trial: Trial, report: Report) -> Verdict:
        return Verdict.CONTINUE

    def _draw(self, history: History, spaces: Mapping[str, Space], rng: np.random.Generator, attempt: int) -> Proposal:
        known = [t for t in history.trials if t.family in spaces and spaces[t.family].contains(t.config)]
        chain = history.next_number % self.chains
        state = replay(history.seed, known, chain, self)
        if state is None:
            return random_proposal(spaces, rng)
        at, warmth = state
        note = f"chain {chain}, {warmth:.0%} warm"
        if len(spaces) > 1 and rng.random() < self.family_move * (0.5 + warmth):
            other = [f for f in spaces if f != at.family][int(rng.integers(len(spaces) - 1))]
            at = max((t for t in known if t.family == other and _scored(t)), key=_rank, default=at)
        strength = 0.4 + 1.6 * warmth + attempt / 2
        return Proposal(at.family, mutate(spaces[at.family], at.config, rng, strength), note)


def replay(seed: int, trials: list[Trial], chain: int, plan: Annealing) -> tuple[Trial, float] | None:
    """(where the chain stands, its temperature as a share of the first one); None before the chains have begun."""
    first = [t for t in trials if _scored(t)][: plan.startup]
    if len(first) < plan.startup:
        return None
    ranked = sorted(first, key=_rank, reverse=True)
    hot = max(_score(ranked[0]) - _score(ranked[len(ranked) // 2]), 1e-12) / 2  # a typical difference of scores
    at, best, stale, temperature = ranked[chain % len(ranked)], ranked[0], 0, hot
    for trial in (t for t in trials if t.ended and t.number > first[-1].number):
        temperature *= plan.cooling
        own = trial.number % plan.chains == chain
        progress = _scored(trial) and _score(trial) > _score(best)
        if progress:
            best = trial
        if own:
            stale = 0 if progress else stale + 1
            loss = _score(at) - _score(trial) if _scored(trial) else math.inf
            if loss <= 0 or uniform_of(seed, trial.number, "accept") < math.exp(-loss / max(temperature, 1e-12)):
                at = trial
        if stale >= plan.patience:
            at, stale, temperature = best, 0, hot / 2
    return at, temperature / hot


def _scored(trial: Trial) -> bool:
    return trial.status is TrialStatus.COMPLETED and trial.score is not None and math.isfinite(trial.score)


def _score(trial: Trial) -> float:
    return -math.inf if trial.score is None else trial.score


def _rank(trial: Trial) -> tuple[float, int]:
    return _score(trial), -trial.number


strategy = Annealing()
