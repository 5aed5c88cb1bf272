"""Metrics of partitions.  Clusters are int64 codes (n,), -1 is noise.

Metrics without a target take the rows in the space of comparison, float64 (n, d), for the truth, and leave noise rows out
unless they say otherwise.  `adjusted_rand` and `normalized_mutual_info` take true codes (n,); they are told to people who
named a truth column and never choose anything.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from assay.metrics._metric import Metric

KIND = "clusters"
EXTERNAL = ("adjusted_rand", "normalized_mutual_info")
MOST_ROWS = 1500  # rows at most that pairwise distances are taken of; callers pass a sample of many


def clustering_quality(x: np.ndarray, codes: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Estimated agreement with a truth nobody has: see `assay.clustering.quality`."""
    from assay.clustering.evidence import Evidence
    from assay.clustering.quality import estimate

    if not _usable(codes):
        return float("nan")
    return estimate(Evidence(np.asarray(x, np.float64)).of(np.asarray(codes, np.int64)))


def silhouette(x: np.ndarray, codes: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis", 1987."""
    from sklearn.metrics import silhouette_score

    if not _usable(codes):
        return float("nan")
    held = codes >= 0
    return float(silhouette_score(x[held], codes[held]))


def calinski_harabasz(x: np.ndarray, codes: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Caliński, Harabasz, "A dendrite method for cluster analysis", Communications in Statistics 3, 1974."""
    from sklearn.metrics import calinski_harabasz_score

    if not _usable(codes):
        return float("nan")
    held = codes >= 0
    return float(calinski_harabasz_score(x[held], codes[held]))


def davies_bouldin(x: np.ndarray, codes: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Davies, Bouldin, "A Cluster Separation Measure", IEEE PAMI 1979.  Lower is better."""
    from sklearn.metrics import davies_bouldin_score

    if not _usable(codes):
        return float("nan")
    held = codes >= 0
    return float(davies_bouldin_score(x[held], codes[held]))


def dbcv(x: np.ndarray, codes: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Density-based clustering validation: how much denser clusters are inside than between them, whatever their shape.

    Moulavi, Jaskowiak, Campello, Zimek, Sander, "Density-Based Clustering Validation", SDM 2014.  From -1 to 1; noise rows
    count as clusters of validity 0.
    """
    from scipy.sparse.csgraph import minimum_spanning_tree
    from scipy.spatial.distance import cdist

    if not _usable(codes):
        return float("nan")
    x, names = np.asarray(x, np.float64), np.unique(codes[codes >= 0])
    parts = [x[codes == c] for c in names]
    core, sparse, inner = [], [], []
    for part in parts:
        if len(part) < 2:
            core.append(np.zeros(len(part)))
            sparse.append(0.0)
            inner.append(np.ones(len(part), bool))
            continue
        far = cdist(part, part)
        own = _core_distances(far, x.shape[1])
        mutual = np.maximum(far, np.maximum(own[:, None], own[None]))
        np.fill_diagonal(mutual, 0.0)
        tree = minimum_spanning_tree(np.maximum(mutual, 1e-12)).tocoo()
        degree = np.bincount(np.concatenate([tree.row, tree.col]), minlength=len(part))
        inside = degree > 1
        edge = inside[tree.row] & inside[tree.col]
        core.append(own)
        sparse.append(float(tree.data[edge].max() if edge.any() else tree.data.max(initial=0.0)))
        inner.append(inside if inside.any() else np.ones(len(part), bool))
    apart = np.full((len(parts), len(parts)), np.inf)
    for i in range(len(parts)):
        for j in range(i + 1, len(parts)):
            far = cdist(parts[i][inner[i]], parts[j][inner[j]])
            mutual = np.maximum(far, np.maximum(core[i][inner[i]][:, None], core[j][inner[j]][None]))
            apart[i, j] = apart[j, i] = mutual.min()
    total = 0.0
    for i, part in enumerate(parts):
        gap = apart[i].min()
        total += len(part) / len(x) * (gap - sparse[i]) / max(gap, sparse[i], 1e-12)
    return float(total)


def adjusted_rand(y: np.ndarray, codes: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Hubert, Arabie, "Comparing partitions", Journal of Classification 2, 1985.  Noise counts as one group."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(y, codes))


def normalized_mutual_info(y: np.ndarray, codes: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Strehl, Ghosh, "Cluster Ensembles", JMLR 2002, by the arithmetic mean.  Noise counts as one group."""
    from sklearn.metrics import normalized_mutual_info_score

    return float(normalized_mutual_info_score(y, codes))


def _usable(codes: np.ndarray) -> bool:
    """Two clusters, and more rows in them than clusters."""
    held = codes[codes >= 0]
    k = len(np.unique(held))
    return 2 <= k < len(held)


def _core_distances(far: np.ndarray, d: int) -> np.ndarray:
    """((mean of distance^-d over the other rows)^(-1/d)), by logarithms: powers of d overflow.  (n,)"""
    from scipy.special import logsumexp

    n = len(far)
    power = -d * np.log(np.maximum(far, 1e-12))
    np.fill_diagonal(power, -np.inf)
    return np.asarray(np.exp(-(logsumexp(power, axis=1) - np.log(n - 1)) / d))


def _clustering(
    name: str, greater: bool, function: Callable[..., float], about: str, unbounded: bool = False
) -> Metric:
    return Metric(name, frozenset({KIND}), greater, function, about, unbounded)


metrics = [
    _clustering(
        "clustering_quality",
        True,
        clustering_quality,
        "estimated agreement with a truth nobody has, from a dozen criteria",
    ),
    _clustering("silhouette", True, silhouette, "how much nearer rows are to their own cluster than to the next"),
    _clustering(
        "calinski_harabasz",
        True,
        calinski_harabasz,
        "dispersion between clusters over dispersion within",
        unbounded=True,
    ),
    _clustering(
        "davies_bouldin", False, davies_bouldin, "spread of clusters over the distance to the most similar one"
    ),
    _clustering("dbcv", True, dbcv, "density within clusters against density between them, of any shape"),
    _clustering(
        "adjusted_rand", True, adjusted_rand, "agreement with the truth column, corrected for chance; reported only"
    ),
    _clustering(
        "normalized_mutual_info",
        True,
        normalized_mutual_info,
        "information shared with the truth column; reported only",
    ),
]
