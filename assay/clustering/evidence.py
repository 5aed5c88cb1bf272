"""What speaks for a partition, without a target: a dozen numbers on one fixed sample in one fixed space.

Everything that does not depend on the partition (distances, neighbours, a density tree, the partitions other ways of
clustering find for the same number of clusters) is made once for a dataset and shared by all trials.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from assay.clustering.criteria import (
    adjusted_rand,
    cut_by_size,
    davies_bouldin,
    embedding,
    explained,
    nearest_member,
    silhouette,
    variance_ratio,
)

NEIGHBOURS = 10  # of a row whose clusters are compared with its own
CORE = 5  # the distance to this neighbour tells how dense it is around a row
PANEL_NUMBERS = (2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 29)  # of clusters the panel is asked for
MOST_COMPONENTS = 12  # of a panel mixture with full covariances
FEATURES = (
    "silhouette", "silhouette_worst", "density_silhouette", "density_silhouette_worst", "purity", "purity_worst",
    "modularity", "gauss_gap", "gap_break", "davies_bouldin", "agree_kmeans", "agree_ward", "agree_mixture", "agree_density",
    "agree_spectral", "agree_most", "agree_second", "log_k", "noise", "smallest", "balance", "explained",
    "silhouette_gap", "density_gap", "variance_gap", "likelihood_gap", "agree_likely", "agree_stable", "log_d", "log_m",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Evidence:
    """x: float64 (m, d), the sample in the space of comparison.  seed: of the panel's random starts."""

    x: np.ndarray
    seed: int = 0
    _panels: dict[Any, Any] = field(default_factory=dict)

    def of(self, codes: np.ndarray) -> dict[str, float]:
        """The numbers called FEATURES.  codes: (m,), -1 is noise; at least two clusters."""
        names, dense = np.unique(codes[codes >= 0], return_inverse=True)
        k, m = len(names), len(codes)
        at = np.full(m, -1)
        at[codes >= 0] = dense
        count = np.bincount(dense, minlength=k)
        member = at >= 0
        plain, worst = silhouette(self.distances, at, k)
        dense_plain, dense_worst = silhouette(self.reach, at, k)
        same = (at[self.neighbours] == at[:, None]) & member[:, None]
        pure = same.mean(1)
        per = np.bincount(at[member], pure[member], minlength=k) / np.maximum(count, 1)
        share = count / max(1, count.sum())
        agree = {
            f"agree_{name}": self._agreement(name, k, at)
            for name in ("kmeans", "ward", "mixture", "density", "spectral")
        }
        ranked = sorted(agree.values(), reverse=True)
        return {
            "silhouette": plain,
            "silhouette_worst": worst,
            "density_silhouette": dense_plain,
            "density_silhouette_worst": dense_worst,
            "purity": float(pure[member].mean()),
            "purity_worst": float(per.min()),
            "modularity": float(pure[member].mean() - (share**2).sum()),
            "gauss_gap": self._gauss(at, k) - self._best_gauss,
            "gap_break": self._break(at, k),
            "davies_bouldin": float(np.log1p(davies_bouldin(self.x[member], at[member], k))),
            **agree,
            "agree_most": ranked[0],
            "agree_second": ranked[1],
            "log_k": float(np.log(k)),
            "noise": float(1 - member.mean()),
            "smallest": float(share.min() * k),
            "balance": float(-(share * np.log(share)).sum() / np.log(k)) if k > 1 else 0.0,
            "explained": explained(self.x[member], at[member], k),
            "silhouette_gap": plain - self._panel_best["silhouette"],
            "density_gap": dense_plain - self._panel_best["density"],
            "variance_gap": variance_ratio(self.x[member], at[member], k) - self._panel_best["variance"],
            "likelihood_gap": self._likely(at, k) - self._panel_best["likelihood"],
            "agree_likely": adjusted_rand(at, self._panel_best["likely"]),
            "agree_stable": self._stable(k),
            "log_d": float(np.log(self.x.shape[1])),
            "log_m": float(np.log(m)),
        }

    # -- made once

    @cached_property
    def distances(self) -> np.ndarray:
        """float32 (m, m)."""
        from scipy.spatial.distance import pdist, squareform

        return np.asarray(squareform(pdist(self.x)).astype(np.float32))

    @cached_property
    def neighbours(self) -> np.ndarray:
        """Positions of the nearest other rows, (m, NEIGHBOURS)."""
        q = min(NEIGHBOURS, len(self.x) - 1)
        near = np.argpartition(self.distances, q, axis=1)[:, : q + 1]
        order = np.take_along_axis(self.distances, near, 1).argsort(1, kind="stable")
        near = np.take_along_axis(near, order, 1)
        own = near == np.arange(len(self.x))[:, None]
        near[~own.any(1), -1] = np.arange(len(self.x))[~own.any(1)]  # a duplicate took its place
        own = near == np.arange(len(self.x))[:, None]
        return np.asarray(near[~own].reshape(len(self.x), q))

    @cached_property
    def core(self) -> np.ndarray:
        """Distance to the CORE-th neighbour, (m,)."""
        q = min(CORE, self.neighbours.shape[1]) - 1
        return np.asarray(np.take_along_axis(self.distances, self.neighbours[:, q : q + 1], 1)[:, 0])

    @cached_property
    def tree(self) -> np.ndarray:
        """Single linkage over mutual reachability distances (scipy's format)."""
        from scipy.cluster.hierarchy import linkage
        from scipy.spatial.distance import squareform

        mutual = np.maximum(self.distances, np.maximum(self.core[:, None], self.core[None]))
        np.fill_diagonal(mutual, 0.0)
        return np.asarray(linkage(squareform(mutual, checks=False), "single"))

    @cached_property
    def reach(self) -> np.ndarray:
        """Density-connectivity distance: the least density that must be passed between two rows.  float32 (m, m)."""
        from scipy.cluster.hierarchy import cophenet
        from scipy.spatial.distance import squareform

        return np.asarray(squareform(cophenet(self.tree)).astype(np.float32))

    @cached_property
    def ward(self) -> np.ndarray:
        from scipy.cluster.hierarchy import linkage

        return np.asarray(linkage(self.x, "ward"))

    @cached_property
    def spectrum(self) -> np.ndarray:
        """Leading eigenvectors of the normalised graph of nearest neighbours, (m, q)."""
        return embedding(self.neighbours, self.distances, min(40, len(self.x) - 2), self.seed)

    def _agreement(self, name: str, k: int, at: np.ndarray) -> float:
        other = self._panel(name, k)
        return 0.0 if other is None else adjusted_rand(at, other)

    def _panel(self, name: str, k: int) -> np.ndarray | None:
        """The partition of the sample into k clusters that another way finds."""
        key = (name, k)
        if key not in self._panels:
            self._panels[key] = getattr(self, f"_by_{name}")(k)
        found = self._panels[key]
        return None if found is None else np.asarray(found)

    def _by_kmeans(self, k: int) -> np.ndarray:
        return np.asarray(_kmeans(self.x, k, self.seed).labels_)

    def _by_ward(self, k: int) -> np.ndarray:
        from scipy.cluster.hierarchy import fcluster

        return np.asarray(fcluster(self.ward, k, "maxclust")) - 1

    def _by_mixture(self, k: int) -> np.ndarray | None:
        import warnings

        from sklearn.mixture import GaussianMixture

        m, d = self.x.shape
        kind = "full" if k <= MOST_COMPONENTS and k * d * (d + 1) // 2 < m / 2 else "diag"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted = GaussianMixture(k, covariance_type=kind, max_iter=60, reg_covar=1e-4, random_state=self.seed)
            return np.asarray(fitted.fit_predict(self.x))

    def _by_spectral(self, k: int) -> np.ndarray | None:
        if k > self.spectrum.shape[1]:
            return None
        rows = self.spectrum[:, :k]
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return np.asarray(_kmeans(rows, k, self.seed).labels_)

    def _by_density(self, k: int) -> np.ndarray | None:
        """The level of the density tree with k clusters of fair size, the rest given to the nearest of them."""
        least = max(4, len(self.x) // (12 * k))
        codes = cut_by_size(self.tree, len(self.x), k, least)
        return None if codes is None else nearest_member(self.distances, codes)

    @cached_property
    def _best_gauss(self) -> float:
        best = self._gauss(np.zeros(len(self.x), np.int64), 1)
        for k in (2, 3, 4, 5, 7, 10, 15, 22, 32):
            if k * 5 > len(self.x):
                break
            for name in ("mixture", "ward"):
                other = self._panel(name, k)
                if other is not None:
                    best = max(best, self._gauss(other, k))
        return best

    def _gauss(self, at: np.ndarray, k: int) -> float:
        """Classification likelihood of one normal distribution a cluster less the BIC penalty, per row and column."""
        n, d = self.x.shape
        total = 0.0
        pooled = np.cov(self.x.T).reshape(d, d) / max(1, k) ** (2 / d)
        for c in range(k):
            own = self.x[at == c]
            if not len(own):
                continue
            spread = np.cov(own.T).reshape(d, d) if len(own) > 1 else np.zeros((d, d))
            spread = (len(own) * spread + (d + 1) * pooled) / (len(own) + d + 1) + 1e-9 * np.eye(d)
            total += len(own) * (np.log(len(own) / n) - 0.5 * np.linalg.slogdet(spread)[1] - 0.5 * d)
        loose = (at < 0).sum()
        if loose:
            total += loose * (
                np.log(loose / n) - 0.5 * np.linalg.slogdet(np.cov(self.x.T).reshape(d, d) * 4)[1] - 0.5 * d
            )
        parameters = k * (d + d * (d + 1) / 2 + 1)
        return float((total - 0.5 * parameters * np.log(n)) / n / d)

    @cached_property
    def _panel_best(self) -> dict[str, Any]:
        """The best silhouettes, variance ratio and likelihood that the panel reaches with any number of clusters, and the
        partition of the best likelihood."""
        whole = np.zeros(len(self.x), np.int64)
        best: dict[str, Any] = {
            "silhouette": -1.0,
            "density": -1.0,
            "variance": -np.inf,
            "likelihood": self._likely(whole, 1),
        }
        best["likely"] = whole
        for k in PANEL_NUMBERS:
            if k * 5 > len(self.x):
                break
            for name in ("kmeans", "mixture", "ward", "density"):
                other = self._panel(name, k)
                if other is None:
                    continue
                names, at = np.unique(other, return_inverse=True)
                if len(names) < 2:
                    continue
                best["silhouette"] = max(best["silhouette"], silhouette(self.distances, at, len(names))[0])
                best["density"] = max(best["density"], silhouette(self.reach, at, len(names))[0])
                best["variance"] = max(best["variance"], variance_ratio(self.x, at, len(names)))
                likely = self._likely(at, len(names))
                if likely > best["likelihood"]:
                    best["likelihood"], best["likely"] = likely, at
        return best

    def _stable(self, k: int) -> float:
        """Agreement of k-means on two halves of the sample, each put to all rows.

        Tibshirani, Walther, "Cluster Validation by Prediction Strength", JCGS 2005, with the adjusted Rand index.
        """
        key = ("stable", k)
        if key not in self._panels:
            order = np.random.default_rng(self.seed).permutation(len(self.x))
            halves = order[::2], order[1::2]
            if len(halves[1]) < 2 * k:
                self._panels[key] = 0.0
            else:
                first, second = (_kmeans(self.x[half], k, self.seed).predict(self.x) for half in halves)
                self._panels[key] = adjusted_rand(first, second)
        return float(self._panels[key])

    def _likely(self, at: np.ndarray, k: int) -> float:
        """As `_gauss`, with the covariances that suit best: of one size, of columns, of a cluster, or shared."""
        n, d = self.x.shape
        member = at >= 0
        x, own = self.x[member], at[member]
        count = np.bincount(own, minlength=k).astype(np.float64)
        hot = np.zeros((len(own), k))
        hot[np.arange(len(own)), own] = 1.0
        mean = (hot.T @ x) / np.maximum(count, 1)[:, None]
        apart = x - mean[own]
        least = 1e-3 * self._variance / max(1, k) ** (2 / d)
        columns = (hot.T @ apart**2) / np.maximum(count, 1)[:, None]  # (k, d)
        columns = (count[:, None] * columns + 2 * columns.mean(1, keepdims=True)) / (count + 2)[:, None] + least
        entropy = float((count * np.log(np.maximum(count, 1) / n)).sum())
        total = float(count.sum())
        spread = apart.T @ apart / max(1.0, total) + least * np.eye(d)
        sphere = columns.mean(1)
        found = [
            (-0.5 * total * d * np.log((count * sphere).sum() / max(1.0, total)), 1),
            (-0.5 * float((count * d * np.log(sphere)).sum()), k),
            (-0.5 * float((count * np.log(columns).sum(1)).sum()), k * d),
            (-0.5 * total * float(np.linalg.slogdet(spread)[1]), d * (d + 1) / 2),
        ]
        loose = n - total
        outside = loose * (np.log(max(loose, 1) / n) - 0.5 * d * np.log(4 * self._variance)) if loose else 0.0
        means = k * (d + 1)
        scores = [v - 0.5 * (p + means) * np.log(n) for v, p in found]
        best = (max(scores) + entropy + outside - 0.5 * d * n) / n / d
        return float(max(best, self._gauss(at, k)))

    @cached_property
    def _variance(self) -> float:
        return float(self.x.var(0).mean()) + 1e-12

    def _break(self, at: np.ndarray, k: int) -> float:
        """How much sparser it is between clusters than inside, over the closest pair of each cluster.

        Logarithm of (least reach out of a cluster) / (reach that holds the cluster together).  Reach is an ultrametric:
        the largest from any row of a cluster to another of it is that of the whole cluster.
        """
        member = at >= 0
        other = (at[:, None] != at[None]) & member[None]
        out = np.where(other, self.reach, np.float32(np.inf)).min(1)
        found = []
        for c in range(k):
            own = np.flatnonzero(at == c)
            if len(own) < 2 or len(own) == len(at):
                continue
            holds, leaves = float(self.reach[own[0], own].max()), float(np.median(out[own]))
            if np.isfinite(leaves):
                found.append(np.log(max(leaves, 1e-9) / max(holds, 1e-9)))
        return float(np.clip(np.mean(found), -3, 3)) if found else 0.0


def _kmeans(x: np.ndarray, k: int, seed: int) -> Any:
    import warnings

    from sklearn.cluster import KMeans

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer different rows than clusters: some stay empty
        return KMeans(k, n_init=2, max_iter=100, random_state=seed).fit(x)


def vector(found: Mapping[str, float]) -> np.ndarray:
    """The numbers in the order of FEATURES, float64 (p,)."""
    return np.array([found[name] for name in FEATURES], np.float64)
