"""Of many clusterings the one that the likely ones agree with: the best estimate of many is often the largest error.

A partition's estimated quality says how likely it is the one that is sought, and so do its odds among the others; what is
delivered is expected to agree most with that.  It is the decision that minimises an expected loss (Lau, Green, "Bayesian
Model-Based Clustering Procedures", Journal of Computational and Graphical Statistics 16, 2007; Wade, Ghahramani, Bayesian
Analysis 13, 2018), here under the adjusted Rand index.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from assay.model.correct import softmax

BELIEF = 0.05  # of estimated quality: by so much better, e times as likely
SHARE = 0.7  # of the odds in what is believed; the rest is the estimates'
TRUST = 0.9  # in what the others say; the rest in a partition's own estimate
FIRST = 40  # trials of a job that are heard: later ones are many where the search found the estimate to err upwards
MOST = 1200  # rows on which partitions are compared


def agreed(
    scores: Sequence[float],
    odds: Sequence[float],
    partitions: Sequence[np.ndarray],
    heard: Sequence[int] | np.ndarray,
    seed: int,
) -> np.ndarray:
    """The estimates, float64 (m,), with what is expected of each partition by those that are heard.

    scores: estimated quality of each.  odds: of `quality.odds`.  partitions: int (n,), clusters of the same rows, -1 for none.
    heard: positions of the ones that say what the truth may be.
    """
    own, among = np.asarray(scores, np.float64), np.asarray(odds, np.float64)
    by_estimate, by_odds = softmax(np.stack([own[heard] / BELIEF, among[heard]]))
    likely = (1.0 - SHARE) * by_estimate + SHARE * by_odds
    n = len(partitions[0])
    rows = np.arange(n) if n <= MOST else np.random.default_rng([seed, 13]).choice(n, MOST, replace=False)
    expected = _alike([p[rows] for p in partitions])[:, heard] @ likely
    return np.asarray((1.0 - TRUST) * own + TRUST * expected)


def _alike(partitions: Sequence[np.ndarray]) -> np.ndarray:
    """Adjusted Rand indices of all pairs, float64 (m, m); rows of no cluster count as one.

    Those of `criteria.adjusted_rand`, but each partition is prepared once: of 60, a call for every pair takes a second.
    """
    dense = [np.unique(p, return_inverse=True)[1] for p in partitions]
    inside = [_pairs(np.bincount(d)) for d in dense]
    every = _pairs(np.array([len(dense[0])]))
    found = np.ones((len(dense), len(dense)))
    for i, a in enumerate(dense):
        for j, b in enumerate(dense[:i]):
            both = _pairs(np.bincount(a * (b.max() + 1) + b))
            chance, most = inside[i] * inside[j] / every, (inside[i] + inside[j]) / 2
            found[i, j] = found[j, i] = (both - chance) / (most - chance) if most != chance else 1.0
    return found


def _pairs(counts: np.ndarray) -> float:
    """How many pairs of rows lie in one cell."""
    return float((counts * (counts - 1.0)).sum() / 2)
