"""Single criteria of partitions, and cuts of a density tree: arrays in, values out."""

from __future__ import annotations

import numpy as np


def embedding(neighbours: np.ndarray, distances: np.ndarray, q: int, seed: int) -> np.ndarray:
    """Eigenvectors of the q largest eigenvalues of D^-1/2 W D^-1/2 over a symmetric graph of neighbours, (m, q).

    Ng, Jordan, Weiss, "On Spectral Clustering: Analysis and an Algorithm", NIPS 2001.
    """
    from scipy.sparse import csr_matrix, diags
    from scipy.sparse.linalg import eigsh

    m, p = neighbours.shape
    rows = np.repeat(np.arange(m), p)
    near = np.take_along_axis(distances, neighbours, 1)
    scale = near[:, min(6, p - 1)].astype(np.float64) + 1e-12
    weight = np.exp(-(near.ravel().astype(np.float64) ** 2) / (scale[rows] * scale[neighbours.ravel()]))
    graph = csr_matrix((weight + 1e-6, (rows, neighbours.ravel())), shape=(m, m))
    graph = (graph + graph.T) * 0.5
    root = diags(1.0 / np.sqrt(np.maximum(np.asarray(graph.sum(1)).ravel(), 1e-12)))
    start = np.random.default_rng(seed).normal(size=m)
    q = max(1, min(q, m - 2))
    values, vectors = eigsh(root @ graph @ root, k=q, which="LA", v0=start, maxiter=3000, tol=1e-4)
    return np.asarray(vectors[:, np.argsort(-values)])


def cut_by_size(tree: np.ndarray, m: int, k: int, least: int) -> np.ndarray | None:
    """The lowest cut of a tree at which k clusters have at least `least` rows; -1 elsewhere.  None: there is none."""
    from scipy.cluster.hierarchy import fcluster

    size = np.ones(2 * m - 1, np.int64)
    big = 0
    best = None
    for i, (a, b, height, _) in enumerate(tree):
        a, b = int(a), int(b)
        size[m + i] = size[a] + size[b]
        big += int(size[m + i] >= least) - int(size[a] >= least) - int(size[b] >= least)
        if big == k:
            best = i, height
    if best is None:
        return None
    codes = fcluster(tree, best[1], "distance")
    _, place, count = np.unique(codes, return_inverse=True, return_counts=True)
    keep = count >= least
    if keep.sum() < 2:
        return None
    new = np.where(keep, np.cumsum(keep) - 1, -1)
    return np.asarray(new[place])


def nearest_member(distances: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Every row without a cluster gets that of the nearest row with one.  (m,)"""
    loose, held = np.flatnonzero(codes < 0), np.flatnonzero(codes >= 0)
    found = codes.copy()
    if len(loose) and len(held):
        found[loose] = codes[held[distances[np.ix_(loose, held)].argmin(1)]]
    return found


def adjusted_rand(a: np.ndarray, b: np.ndarray) -> float:
    """Hubert, Arabie, "Comparing partitions", Journal of Classification 2, 1985.  1: equal, about 0: unrelated."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(a, b))


def davies_bouldin(x: np.ndarray, at: np.ndarray, k: int) -> float:
    """Davies, Bouldin, "A Cluster Separation Measure", IEEE PAMI 1979.  Lower is better."""
    centre = np.stack([x[at == c].mean(0) for c in range(k)])
    spread = np.array([np.linalg.norm(x[at == c] - centre[c], axis=1).mean() for c in range(k)])
    apart = np.linalg.norm(centre[:, None] - centre[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    return float(((spread[:, None] + spread[None]) / np.maximum(apart, 1e-12)).max(1).mean())


def silhouette(distances: np.ndarray, at: np.ndarray, k: int) -> tuple[float, float]:
    """Mean over the rows in clusters, and the mean of the worst cluster, of Rousseeuw's silhouette (1987)."""
    member = at >= 0
    hot = np.zeros((len(at), k), np.float32)
    hot[np.flatnonzero(member), at[member]] = 1
    count = hot.sum(0)
    sums = (distances @ hot)[member]  # (members, k)
    own = at[member]
    rows = np.arange(len(own))
    inside = sums[rows, own] / np.maximum(count[own] - 1, 1)
    means = sums / np.maximum(count, 1)
    means[rows, own] = np.inf
    outside = means.min(1)
    value = np.where(count[own] > 1, (outside - inside) / np.maximum(np.maximum(inside, outside), 1e-12), 0.0)
    per = np.bincount(own, value, minlength=k) / np.maximum(count, 1)
    return float(value.mean()), float(per.min())


def variance_ratio(x: np.ndarray, at: np.ndarray, k: int) -> float:
    """Logarithm of the index of Caliński, Harabasz (1974)."""
    share = min(explained(x, at, k), 1 - 1e-9)
    return float(np.log(max(share, 1e-6) / (1 - share) * max(1, len(x) - k) / max(1, k - 1)))


def explained(x: np.ndarray, at: np.ndarray, k: int) -> float:
    total = ((x - x.mean(0)) ** 2).sum()
    within = sum(((x[at == c] - x[at == c].mean(0)) ** 2).sum() for c in range(k))
    return float(1 - within / max(total, 1e-12))
