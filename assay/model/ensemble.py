"""Greedy ensemble selection with replacement over out-of-fold predictions.

Caruana, Niculescu-Mizil, Crew, Ksikes: Ensemble Selection from Libraries of Models, ICML 2004.  Changed: starts from the
single best, ties go to members already used, the best prefix of the path is kept, and the number of members is capped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import numpy as np

STEPS = 40
MAX_MEMBERS = 12
BAGS, BAG_STEPS = 8, 15
LEAST_WEIGHT = 0.02  # members below it cost more than they bring
SAMPLES = 24
LEAST_SHARE = 0.1  # of a member of a few, likewise


class Score(Protocol):
    """Of predictions of some rows, which are told; higher is better."""

    def __call__(self, prediction: np.ndarray, /, rows: np.ndarray) -> float: ...


def greedy_weights(
    predictions: Sequence[np.ndarray],
    score: Callable[[np.ndarray], float],
    *,
    steps: int = STEPS,
    max_members: int = MAX_MEMBERS,
) -> np.ndarray:
    """Weights (m,) that sum to 1.  predictions: m arrays (n, k) of the same rows; score: higher is better.

    The first member is the best one alone, so the answer is never worse than it on these rows.
    """
    m = len(predictions)
    if m == 0:
        raise ValueError("an ensemble needs at least one member")
    counts = np.zeros(m, dtype=np.int64)
    total = np.zeros_like(predictions[0], dtype=np.float64)
    best_score, best_counts = -np.inf, counts
    for step in range(1, steps + 1):
        full = int((counts > 0).sum()) >= max_members
        choices = [i for i in range(m) if counts[i] > 0 or not full]
        scores = {i: _finite(score((total + predictions[i]) / step)) for i in choices}
        top = max(scores.values())
        if not np.isfinite(top):
            break
        tied = [i for i in choices if scores[i] >= top - 1e-12]
        chosen = max(tied, key=lambda i: (counts[i] > 0, -i))
        counts[chosen] += 1
        total = total + predictions[chosen]
        if top > best_score + 1e-12:
            best_score, best_counts = top, counts.copy()
    if best_counts.sum() == 0:
        best_counts = np.eye(m, dtype=np.int64)[0]
    return np.asarray(best_counts / best_counts.sum())


def bagged_weights(
    predictions: Sequence[np.ndarray],
    score: Callable[[np.ndarray], float],
    rng: np.random.Generator,
    *,
    bags: int = BAGS,
    max_members: int = MAX_MEMBERS,
) -> np.ndarray:
    """The mean of greedy weights over random halves of the candidates, so that no one lucky candidate decides.

    The bagging of the paper's section 2.3, with half of the models a bag.  The best candidate's chance to be in a bag is
    that of any other.  Few validation rows are where it matters: there the best of many is the best by luck.
    """
    m = len(predictions)
    if m <= 2 or bags < 2:
        return greedy_weights(predictions, score, max_members=max_members)
    total = greedy_weights(predictions, score, max_members=max_members)
    for _ in range(bags):
        chosen = np.sort(rng.permutation(m)[: (m + 1) // 2])
        if not np.isfinite(score(predictions[chosen[0]])):  # out of time
            break
        total[chosen] += greedy_weights([predictions[i] for i in chosen], score, steps=BAG_STEPS)
    keep = np.argsort(-total, kind="stable")[:max_members]
    weights = np.zeros(m)
    weights[keep] = total[keep]
    weights[weights < LEAST_WEIGHT * weights.sum()] = 0.0
    return np.asarray(weights / weights.sum())


def resampled_weights(
    predictions: Sequence[np.ndarray],
    score: Score,
    rng: np.random.Generator,
    *,
    max_members: int = MAX_MEMBERS,
) -> np.ndarray:
    """The mean of greedy weights over samples of the rows, drawn with replacement, so that no few lucky rows decide.

    Breiman: Bagging Predictors. Machine Learning 24, 1996.  For a handful of candidates and some dozens of rows: members
    that those cannot tell apart share the weight, one that is clearly worse gets none.
    """
    m, n = len(predictions), len(predictions[0])
    total = np.zeros(m)
    for _ in range(SAMPLES):
        rows = rng.integers(n, size=n)
        own = [p[rows] for p in predictions]
        total += greedy_weights(own, partial(score, rows=rows), steps=BAG_STEPS, max_members=max_members)
    total[total < LEAST_SHARE * total.sum()] = 0.0
    total[np.argsort(-total, kind="stable")[max_members:]] = 0.0
    return np.asarray(total / total.sum())


def _finite(value: float) -> float:
    return value if np.isfinite(value) else -np.inf
