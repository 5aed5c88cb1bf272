"""Greedy ensemble selection with replacement over out-of-fold predictions.

Caruana, Niculescu-Mizil, Crew, Ksikes: Ensemble Selection from Libraries of Models, ICML 2004.  Changed: starts from the
single best, ties go to members already used, the best prefix of the path is kept, and the number of members is capped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

STEPS = 40
MAX_MEMBERS = 12


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


def _finite(value: float) -> float:
    return value if np.isfinite(value) else -np.inf
