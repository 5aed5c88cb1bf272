"""What every search strategy must keep, as a suite that a plug-in's author inherits.

>>> class TestMine(StrategySuite):  # doctest: +SKIP
...     strategy = my_strategy
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
import pytest

from assay.search.strategies import SearchStrategy
from assay.search.trial import Facts, History, Proposal, Report, Trial, TrialStatus, Verdict
from assay.space import Choice, Float, Int, Space, Values, When


@dataclass(frozen=True)
class _Net:
    optimizer: Annotated[str, Choice("sgd", "adam", "rmsprop")] = "adam"
    learning_rate: Annotated[float, Float(1e-4, 1.0, log=True)] = 0.3
    momentum: Annotated[float, Float(0.0, 0.99), When("optimizer", "sgd")] = 0.9
    width: Annotated[int, Int(8, 512, log=True)] = 16


@dataclass(frozen=True)
class _Tree:
    depth: Annotated[int, Int(1, 12)] = 2
    criterion: Annotated[str, Choice("gini", "entropy")] = "gini"


@dataclass(frozen=True)
class _Finite:
    a: Annotated[str, Choice("x", "y", "z")] = "x"
    n: Annotated[int, Int(1, 4)] = 1


SPACES: Mapping[str, Space] = {"tree": Space.of(_Tree), "net": Space.of(_Net)}


def toy_score(family: str, config: Values) -> float:
    """A smooth conditional surface with its best value, 0, in the net family."""
    if family == "tree":
        return -0.35 - 0.02 * abs(float(config["depth"] or 0) - 7) - (0.05 if config["criterion"] == "gini" else 0.0)
    loss = 0.08 * abs(np.log10(float(config["learning_rate"] or 1)) + 2.3) + 0.05 * abs(
        np.log2(float(config["width"] or 1)) - 7
    )
    loss += {"adam": 0.0, "sgd": 0.1, "rmsprop": 0.05}[str(config["optimizer"])]
    if config["optimizer"] == "sgd":
        loss += 0.1 * abs(float(config["momentum"] or 0) - 0.9)
    return -float(loss)


def run(strategy: SearchStrategy, n: int, seed: int, spaces: Mapping[str, Space] = SPACES) -> History:
    """A serial search of n trials on the toy surface (or until the strategy has nothing left)."""
    history = History(seed, (), Facts("regression", 1000, 10, 5))
    for _ in range(n):
        rng = np.random.default_rng([seed, history.next_number])
        found = strategy.propose(history, spaces, rng, 1)
        if not found:
            return history
        history = finished(history, found[0])
    return history


def finished(history: History, proposal: Proposal, score: float | None = None) -> History:
    value = toy_score(proposal.family, proposal.config) if score is None else score
    trial = Trial(
        history.next_number, proposal.family, proposal.config, TrialStatus.COMPLETED, score=value, score_std=0.01,
        fold_scores=(value,) * 5, curve=(Report(5, value),), max_steps=5, seconds=0.1,
    )  # fmt: skip
    return replace(history, trials=(*history.trials, trial))


class StrategySuite:
    """Inherit and set `strategy`; `name` is its public name when it is a shipped one."""

    strategy: ClassVar[SearchStrategy]
    beats_random: ClassVar[bool] = True

    def ask(self, history: History, n: int, spaces: Mapping[str, Space] = SPACES) -> list[Proposal]:
        return self.strategy.propose(history, spaces, np.random.default_rng([history.seed, history.next_number]), n)

    def test_proposals_lie_in_the_space_and_are_complete(self) -> None:
        history = run(self.strategy, 25, seed=1)
        for proposal in self.ask(history, 4):
            space = SPACES[proposal.family]
            assert space.contains(proposal.config)
            assert space.complete(proposal.config) == proposal.config
            assert json.loads(json.dumps(proposal.config)) == proposal.config

    def test_parallel_asks_differ_from_each_other_and_from_open_trials(self) -> None:
        history = run(self.strategy, 15, seed=2)
        first = self.ask(history, 4)
        for p in first:
            history = replace(
                history, trials=(*history.trials, Trial(history.next_number, p.family, p.config, TrialStatus.RUNNING))
            )
        everything = [*first, *self.ask(history, 4)]
        assert len({(p.family, SPACES[p.family].key(p.config)) for p in everything}) == 8

    def test_the_same_rows_give_the_same_answer(self) -> None:
        a, b = run(self.strategy, 20, seed=3), run(self.strategy, 20, seed=3)
        assert [(t.family, dict(t.config)) for t in a.trials] == [(t.family, dict(t.config)) for t in b.trials]

    def test_the_first_proposal_is_a_default(self) -> None:
        (proposal,) = self.ask(History(0, ()), 1)
        assert proposal.config == SPACES[proposal.family].defaults()

    def test_failed_stopped_tied_and_undefined_trials_are_tolerated(self) -> None:
        history = run(self.strategy, 6, seed=4)
        for i, status in enumerate(
            [TrialStatus.FAILED, TrialStatus.STOPPED, TrialStatus.FAILED, TrialStatus.COMPLETED]
        ):
            config = SPACES["net"].sample(np.random.default_rng(i))
            score = float("nan") if status is TrialStatus.COMPLETED else None
            trial = Trial(history.next_number, "net", config, status, score=score, seconds=0.1, error="diverged")
            history = replace(history, trials=(*history.trials, trial))
        for _ in range(3):
            history = finished(history, self.ask(history, 1)[0], score=-0.4)
        assert len(self.ask(history, 2)) == 2

    def test_a_finite_space_is_visited_whole_and_then_ends(self) -> None:
        space = {"net": Space.of(_Finite)}
        history = History(5, ())
        while found := self.ask(history, 1, space):
            history = finished(history, found[0], score=float(len(history.trials)))
            assert len(history.trials) <= 12
        assert len({space["net"].key(t.config) for t in history.trials}) == 12

    def test_it_finds_better_configurations_than_chance(self) -> None:
        if not self.beats_random:
            pytest.skip("the yardstick itself")
        from assay.search.strategies import discover

        def best(strategy: SearchStrategy, seed: int) -> float:
            return max(t.score for t in run(strategy, 60, seed).trials if t.score is not None)

        chance = discover()["random"]
        mine, theirs = ([best(s, seed) for seed in range(5)] for s in (self.strategy, chance))
        assert float(np.median(mine)) >= float(np.median(theirs))

    def test_proposing_stays_quick(self) -> None:
        history = run(_Chance(), 500, seed=6)
        self.ask(history, 1)
        began = time.perf_counter()
        for i in range(3):
            self.ask(replace(history, seed=i), 1)
        assert (time.perf_counter() - began) / 3 < 2.0  # a guard against quadratic work, not a benchmark

    def test_judging_needs_nothing_but_the_history(self) -> None:
        history = run(self.strategy, 8, seed=7)
        trial = Trial(history.next_number, "net", SPACES["net"].defaults(), TrialStatus.RUNNING, max_steps=5)
        history = replace(history, trials=(*history.trials, trial))
        assert self.strategy.judge(history, trial, Report(1, -0.1)) in (Verdict.CONTINUE, Verdict.STOP)


class _Chance:
    """Independent draws, for a long history at no cost."""

    def propose(
        self, history: History, spaces: Mapping[str, Space], rng: np.random.Generator, n: int
    ) -> list[Proposal]:
        family = list(spaces)[int(rng.integers(len(spaces)))]
        return [Proposal(family, spaces[family].sample(rng)) for _ in range(n)]

    def judge(self, history: History, trial: Trial, report: Report) -> Verdict:
        return Verdict.CONTINUE


FRESH = """
import sys, json
from assay.search.strategies import discover
from assay.testing.strategies import run
print(json.dumps([[t.family, dict(t.config)] for t in run(discover()[sys.argv[1]], 18, 11).trials]))
"""


def in_a_fresh_process(name: str, hash_seed: str) -> str:
    """The first trials of a shipped strategy, found by another process under another hash seed."""
    import os

    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(
        [sys.executable, "-c", FRESH, name], capture_output=True, text=True, check=True, env=environment
    ).stdout
