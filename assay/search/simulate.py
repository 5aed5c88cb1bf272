"""A strategy against a plain function, without data, models or clocks: for tests, benchmarks and curious people.

>>> from assay.search.strategies import discover
>>> from assay.space import Dimension, Float, Space
>>> spaces = {"hill": Space((Dimension("x", Float(-1.0, 1.0), 0.9),))}
>>> history = simulate(discover()["random"], spaces, lambda family, config: -config["x"] ** 2, trials=20)
>>> len(history.completed)
20
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from assay.errors import TrialError
from assay.search.strategies import SearchStrategy
from assay.search.trial import Facts, History, Report, Trial, TrialStatus, Verdict
from assay.space import Space, Values

Evaluate = Callable[[str, Values], float | Sequence[float]]


def simulate(
    strategy: SearchStrategy,
    spaces: Mapping[str, Space],
    evaluate: Evaluate,
    *,
    trials: int,
    seed: int = 0,
    slots: int = 1,
    seconds: Callable[[str, Values], float] = lambda family, config: 1.0,
    facts: Facts | None = None,
) -> History:
    """Run `trials` trials, `slots` at a time, the oldest ending first.  Ends early when the strategy has nothing left.

    evaluate(family, config): the score, or the scores after step 1, 2, ... of which the last one is final and each is
    judged; a TrialError or a score that is not finite makes a failed trial.  seconds: what a whole trial takes.
    """
    facts = facts or Facts("regression", 1000, 10, 1)
    history = History(seed, (), facts)
    while True:
        wanted = min(slots - len(history.open), trials - len(history.trials))
        asked = replace(history, facts=replace(facts, trials_left=trials - len(history.trials), slots=slots))
        rng = np.random.default_rng([seed, history.next_number])
        proposals = strategy.propose(asked, spaces, rng, wanted) if wanted > 0 else []
        started = [
            Trial(history.next_number + i, p.family, p.config, TrialStatus.RUNNING, note=p.note)
            for i, p in enumerate(proposals)
        ]
        history = replace(history, trials=(*history.trials, *started))
        if not history.open:
            return replace(history, facts=facts)
        oldest = history.open[0]
        ended = _run(strategy, history, oldest, evaluate, seconds(oldest.family, dict(oldest.config)))
        history = _with(history, ended)


def _run(strategy: SearchStrategy, history: History, trial: Trial, evaluate: Evaluate, seconds: float) -> Trial:
    try:
        outcome = evaluate(trial.family, dict(trial.config))
    except TrialError as error:
        return replace(trial, status=TrialStatus.FAILED, error=error.code, seconds=seconds)
    scores = [float(s) for s in outcome] if isinstance(outcome, Sequence) else [float(outcome)]
    trial = replace(trial, max_steps=len(scores))
    for step, score in enumerate(scores, 1):
        if not math.isfinite(score):
            return replace(trial, status=TrialStatus.FAILED, error="diverged", seconds=seconds * step / len(scores))
        report = Report(step, score)
        trial = replace(trial, curve=(*trial.curve, report))
        if step < len(scores) and strategy.judge(_with(history, trial), trial, report) is Verdict.STOP:
            return replace(trial, status=TrialStatus.STOPPED, seconds=seconds * step / len(scores))
    return replace(trial, status=TrialStatus.COMPLETED, score=scores[-1], seconds=seconds)


def _with(history: History, trial: Trial) -> History:
    return replace(history, trials=tuple(trial if t.number == trial.number else t for t in history.trials))
