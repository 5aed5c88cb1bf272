"""Of many clusterings the one that the likely ones agree with: the best estimate of many is often the largest error.

A partition's estimated quality says how likely it is the one that is sought; what is delivered is expected to agree most with
that.  It is the decision that minimises an expected loss (Lau, Green, "Bayesian Model-Based Clustering Procedures", Journal of
Computational and Graphical Statistics 16, 2007; Wade, Ghahramani, Bayesian Analysis 13, 2018), here under the adjusted Rand index.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BELIEF = 0.05  # of estimated quality: by so much better, e times as likely
TRUST = 0.75  # in what the others say; the rest in a partition's own estimate
MOST = 1200  # rows on which partitions are compared


def agreed(scores: Sequence[float], partitions: Sequence[np.ndarray], seed: int) -> np.ndarray:
    """The estimates, float64 (m,), with what is expected of each partition by the others.

    scores: estimated quality of each.  partitions: int (n,), clusters of the same rows, -1 for none.
    """
    own = np.asarray(scores, np.float64)
    likely = np.exp((own - own.max()) / BELIEF)
    n = len(partitions[0])
    rows = np.arange(n) if n <= MOST else np.random.default_rng([seed, 13]).choice(n, MOST, replace=False)
    expected = _alike([p[rows] for p in partitions]) @ (likely / likely.sum())
    return np.asarray((1.0 - TRUST) * own + TRUST * expected)


def _alike(partitions: Sequence[np.ndarray]) -> np.ndarray:
    """Adjusted Rand indices of all pairs, float64 (m, m); rows of no cluster count as one."""
    from assay.clustering.criteria import adjusted_rand

    m = len(partitions)
    found = np.ones((m, m))
    for i in range(m):
        for j in range(i):
            found[i, j] = found[j, i] = adjusted_rand(partitions[i], partitions[j])
    return found
