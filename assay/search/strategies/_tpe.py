"""Tree-structured Parzen estimator over a family and its configuration, by Optuna, as a function of the history.

Bergstra et al.: Algorithms for hyper-parameter optimization (NeurIPS 2011); multivariate as in Falkner et al. (BOHB,
ICML 2018), conditions inside a family by Optuna's `group`.  Changed: the family is drawn first, by the same rule over
all trials, and its configuration from that family's trials alone.  One model over everything (what Optuna would do)
splits good from bad over all families, so that a family with no trial in the best tenth is searched blindly; it also
takes ten times as long, because the branches of all families are modelled for every proposal.

The sampler is seeded anew for every trial from (job seed, trial number) and the study behind it is built from the
history's rows, so two processes that see the same rows propose the same.  Nothing is kept between calls, so there is
nothing that could be stale.  Import this module inside functions: it loads Optuna.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from assay.search.strategies._economy import standings
from assay.search.strategies._seeds import seed_of
from assay.search.trial import History, Trial, TrialStatus
from assay.space import Choice, Domain, Float, Space, Values

MOST_ROWS = 150  # of one family; of more only the best and the newest are modelled, the cost grows with the rows
STARTUP = 10  # ended trials before a model is trusted
FAMILY_DRAWS = 24  # families drawn from the good trials, of which the most promising one is taken

Distributions = Mapping[str, BaseDistribution]

optuna.logging.set_verbosity(optuna.logging.WARNING)


def suggest(history: History, spaces: Mapping[str, Space], attempt: int = 0) -> tuple[str, Values]:
    """(family, configuration) for the history's next trial.  Trials still open count as bad ("constant liar").

    attempt: another answer to the same history, for when the first one was a repeat.
    """
    family = suggest_family(history, list(spaces), attempt)
    return family, suggest_config(history, family, spaces[family], attempt)


def suggest_family(history: History, families: list[str], attempt: int = 0) -> str:
    """Half the time the family that is commonest among the best tenth of the trials relative to the others.

    That rule alone settles on the first family with good scores, so the other half is drawn by the estimated cost until
    a family improves the best score: one that gains quickly from behind gets its chance.
    """
    rng = np.random.default_rng(seed_of(history.seed, history.next_number, f"tpe family {attempt}"))
    completed = sorted((t for t in history.completed if t.family in families), key=lambda t: (-_score(t), t.number))
    if len(completed) < STARTUP or len(families) == 1:
        return families[int(rng.integers(len(families)))]
    if rng.random() < 0.5:
        race = standings(history, families)
        return families[int(rng.choice(len(families), p=[race[f].share for f in families]))]
    good = {t.number for t in completed[: min(math.ceil(0.1 * len(completed)), 25)]}
    below, above = np.full((2, len(families)), 1.0 / len(families))  # the prior: one trial, spread over all families
    for trial in history.trials:
        if trial.family in families:
            (below if trial.number in good else above)[families.index(trial.family)] += 1.0
    below, above = below / below.sum(), above / above.sum()
    drawn = rng.choice(len(families), size=FAMILY_DRAWS, p=below)
    best = max(drawn.tolist(), key=lambda i: float(below[i] / above[i]))
    return families[int(best)]


def suggest_config(history: History, family: str, space: Space, attempt: int = 0) -> Values:
    """A configuration of one family, from that family's trials."""
    # catch_warnings is not safe with several threads; this filter is narrow, and setting it twice changes nothing
    warnings.filterwarnings("ignore", "Argument ``group``", ExperimentalWarning)
    sampler = TPESampler(
        n_startup_trials=STARTUP,
        multivariate=True,
        group=True,
        constant_liar=True,
        seed=seed_of(history.seed, history.next_number, f"tpe {attempt}"),
    )
    storage = InMemoryStorage()
    study_id = storage.create_new_study([StudyDirection.MAXIMIZE], "history")
    distributions = {d.name: _distribution(d.domain) for d in space}
    for trial in modelled(history.of_family(family)):
        if space.contains(trial.config):
            storage.create_new_trial(study_id, _row(trial, space, distributions))
    return _suggest(Study("history", storage, sampler=sampler).ask(), space)


def modelled(trials: Sequence[Trial]) -> list[Trial]:
    """The trials a model is built from, by number: all of them, or the best, the newest and the open ones of many."""
    if len(trials) <= MOST_ROWS:
        return list(trials)
    ended = [t for t in trials if t.ended]
    best = sorted(ended, key=lambda t: (-_score(t), t.number))[: MOST_ROWS // 2]
    kept = {t.number for t in (*best, *ended[-MOST_ROWS // 2 :])}
    return [t for t in trials if t.number in kept or not t.ended]


class _Row(FrozenTrial):
    """A row that the storage may keep as it is: copying thousands of them would cost more than the proposal."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def _row(trial: Trial, space: Space, distributions: Distributions) -> _Row:
    names = space.active(trial.config)
    state, value, curve = _outcome(trial)
    return _Row(
        number=trial.number,
        state=state,
        value=value,
        datetime_start=None,
        datetime_complete=None,
        params={name: trial.config[name] for name in names},
        distributions={name: distributions[name] for name in names},
        user_attrs={},
        system_attrs={},
        intermediate_values=curve,
        trial_id=trial.number,
    )


def _outcome(trial: Trial) -> tuple[TrialState, float | None, dict[int, float]]:
    """Stopped trials rank below completed ones, the farthest first; failed and diverged ones rank last."""
    if not trial.ended:
        return TrialState.RUNNING, None, {}
    if math.isfinite(_score(trial)):
        return TrialState.COMPLETE, trial.score, {}
    if trial.status is TrialStatus.STOPPED and trial.curve:
        last = trial.curve[-1]
        return TrialState.PRUNED, None, {last.step: last.score}
    return TrialState.PRUNED, None, {}


def _score(trial: Trial) -> float:
    """The final score; minus infinity without a usable one."""
    scored = trial.status is TrialStatus.COMPLETED and trial.score is not None and math.isfinite(trial.score)
    return trial.score if scored and trial.score is not None else -math.inf


def _distribution(domain: Domain) -> BaseDistribution:
    if isinstance(domain, Choice):
        return CategoricalDistribution(domain.values)
    if isinstance(domain, Float):
        return FloatDistribution(domain.low, domain.high, log=domain.log)
    return IntDistribution(domain.low, domain.high, log=domain.log)


def _suggest(trial: optuna.Trial, space: Space) -> Values:
    values: Values = {}
    for d in space:
        if d.when is not None and d.name not in space.active(values):
            continue
        if isinstance(d.domain, Choice):
            values[d.name] = trial.suggest_categorical(d.name, d.domain.values)
        elif isinstance(d.domain, Float):
            values[d.name] = trial.suggest_float(d.name, d.domain.low, d.domain.high, log=d.domain.log)
        else:
            values[d.name] = trial.suggest_int(d.name, d.domain.low, d.domain.high, log=d.domain.log)
    return space.complete(values)
