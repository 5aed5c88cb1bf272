"""Stopping a trial that is clearly hopeless after its first whole folds, without harm to late bloomers."""

from __future__ import annotations

import math

import numpy as np

from assay.search.trial import History, Report, Trial, TrialStatus

BEHIND = 3.0  # standard deviations of the best trial's fold scores
SEEN_OF_FAMILY = 2  # completed trials of every family before anything is stopped


def hopeless(history: History, trial: Trial, report: Report) -> bool:
    """True when, after whole folds, the trial is below the median of its family and far behind the best of all.

    Both comparisons are made on the same folds.  Nothing is stopped before every family has two completed trials;
    a family of which all trials failed is not waited for.
    """
    folds = whole_folds(history, trial, report)
    if folds == 0 or not math.isfinite(report.score):
        return False
    best = history.best()
    if best is None or not _all_families_seen(history):
        return False
    peers = [s for t in history.completed if t.family == trial.family for s in after_folds(history, t, folds)]
    if len(peers) < SEEN_OF_FAMILY or report.score >= float(np.median(peers)):
        return False
    deviation = _deviation(best)
    leader = after_folds(history, best, folds)
    return bool(leader) and deviation is not None and report.score < leader[0] - BEHIND * deviation


def whole_folds(history: History, trial: Trial, report: Report) -> int:
    """Folds that are finished when the report is the first one after them; 0 in the middle of a fold and at the end."""
    n_folds = history.facts.n_folds
    if n_folds < 2 or trial.max_steps % n_folds or report.step >= trial.max_steps:
        return 0
    steps = trial.max_steps // n_folds
    return report.step // steps if report.step % steps == 0 else 0


def after_folds(history: History, trial: Trial, folds: int) -> list[float]:
    """[mean score of the completed trial's first folds], from its fold scores or its curve; [] when unknown."""
    if len(trial.fold_scores) == history.facts.n_folds:
        return [float(np.mean(trial.fold_scores[:folds]))]
    step = folds * trial.max_steps // history.facts.n_folds
    return next(([r.score] for r in trial.curve if r.step == step and math.isfinite(r.score)), [])


def _all_families_seen(history: History) -> bool:
    counts: dict[str, int] = {}
    for t in history.trials:
        if t.status is not TrialStatus.FAILED:
            counts[t.family] = counts.get(t.family, 0)
    for t in history.completed:
        counts[t.family] += 1
    return bool(counts) and min(counts.values()) >= SEEN_OF_FAMILY


def _deviation(best: Trial) -> float | None:
    if len(best.fold_scores) >= 2:
        return float(np.std(best.fold_scores))
    return best.score_std
