"""Early stopping at rungs: a trial goes on while it is among the best of its family at the same share of the work.

Li et al.: Hyperband (JMLR 18, 2018) in the asynchronous form of Li et al.: A system for massively parallel
hyperparameter tuning (ASHA, MLSys 2020), "stopping" variant.  Changed: families are never compared with each other (a
slow learner that ends best would always lose), and a rung is a share of the trial's own length, so that trials of
different lengths meet there.

Reports inside a fold and reports at a fold's end may measure different things (a loss here, the job's metric there), so
a rung inside the first fold is judged by reports inside it, and any other rung moves to the next end of a fold.
"""

from __future__ import annotations

import math

from assay.search.strategies._seeds import seed_of
from assay.search.trial import History, Report, Trial, Verdict

ETA = 3  # one in so many goes on
BRACKETS = 4  # the first rung is at 1/27, 1/9 or 1/3 of the work, or there is none
FIRST_OF_FAMILY = 3  # trials of a family that are never stopped


def verdict(history: History, trial: Trial, report: Report) -> Verdict:
    """STOP when the report reaches a rung of the trial and is not among the best third of its family there."""
    level = level_reached(history, trial, report)
    if level is None or trial.number in {t.number for t in history.of_family(trial.family)[:FIRST_OF_FAMILY]}:
        return Verdict.CONTINUE
    n_folds = history.facts.n_folds
    others = [score_at(t, level, n_folds) for t in history.of_family(trial.family) if t.number != trial.number]
    known = [s for s in others if s is not None]
    if len(known) + 1 < ETA:
        return Verdict.CONTINUE
    if not math.isfinite(report.score):
        return Verdict.STOP
    better = sum(s > report.score for s in known)
    return Verdict.CONTINUE if better < (len(known) + 1) / ETA else Verdict.STOP


def bracket(seed: int, number: int) -> int:
    """0 to 3: how many rungs a trial has.  Those with few give late bloomers a chance."""
    return seed_of(seed, number, "bracket") % BRACKETS


def level_reached(history: History, trial: Trial, report: Report) -> int | None:
    """The rung of the trial that this report is the first to reach; k stands for the rung at 3^-k of the work."""
    fold = fold_steps(trial, history.facts.n_folds)
    before = max((r.step for r in trial.curve if r.step < report.step), default=0)
    for level in range(1, bracket(history.seed, trial.number) + 1):
        step = rung_step(trial, level, history.facts.n_folds)
        in_place = report.step < fold if step < fold else report.step == step
        if in_place and step < trial.max_steps and before < step <= report.step:
            return level
    return None


def rung_step(trial: Trial, level: int, n_folds: int) -> int:
    """Steps until the trial's rung: 3^-level of the work, from the first fold's end on rounded up to an end of a fold."""
    step = -(-trial.max_steps // int(ETA**level))  # rounded up
    fold = fold_steps(trial, n_folds)
    return step if step < fold else -(-step // fold) * fold


def score_at(trial: Trial, level: int, n_folds: int) -> float | None:
    """The trial's score at the rung, None if it did not get there.

    A fit that stopped itself inside the fold before the rung counts with its last report.
    """
    step, fold = rung_step(trial, level, n_folds), fold_steps(trial, n_folds)
    if step >= fold:
        return next((r.score for r in trial.curve if r.step == step and math.isfinite(r.score)), None)
    inside = [r for r in trial.curve if r.step < fold and math.isfinite(r.score)]
    reached = next((r.score for r in inside if r.step >= step), None)
    fold_ended = any(r.step >= fold for r in trial.curve)
    return inside[-1].score if reached is None and inside and fold_ended else reached


def fold_steps(trial: Trial, n_folds: int) -> int:
    """Steps of one fold."""
    return max(1, trial.max_steps // max(1, n_folds))
