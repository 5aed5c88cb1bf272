"""Assay's clusterings against scikit-learn's best of a grid, through REST: `python -m benchmarks.clustering --seconds 60`.

The sets are scikit-learn's generators and bundled tables, none of which `clustering_quality` was fitted to, and tables given as
name=file.csv:truth.  The truth column is not uploaded.  The peer is a grid over standardised columns: k-means, Ward, average
linkage and normal mixtures with 2 to 12 clusters, spectral clustering likewise up to 1,500 rows, DBSCAN at eight radii and
HDBSCAN at six sizes; past 5,000 rows k-means and mixtures alone.  "pick" is what the silhouette chooses of it (noise of DBSCAN and HDBSCAN counts as one cluster more),
"best" is the one that the truth would choose: nobody without a truth can have it.  Writes one dated file.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._rest import ask, service

Set = tuple[np.ndarray, np.ndarray]
MANY = 5_000  # rows past which scikit-learn's slower ways take too long or too much memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", help="names of sets, or name=path.csv:truth; nothing: all sets")
    parser.add_argument("--seconds", type=float, nargs="*", default=[60.0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    known = sets()
    chosen = {d.partition("=")[0]: read(d) if "=" in d else known[d] for d in given.data or known}
    lines: list[str] = []
    with service() as running:
        for name, (x, y) in chosen.items():
            pick, best = peer(x, y)
            for seconds in given.seconds:
                lines.append(one(running, name, x, y, seconds, pick, best))
                print(lines[-1], flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"{datetime.date.today().isoformat()}-clustering.md"
    path.write_text(report(lines), encoding="utf-8")
    print(f"wrote {path}")


def report(lines: list[str]) -> str:
    assert __doc__
    return f"""# Clusterings against scikit-learn's best of a grid, {datetime.date.today().isoformat()}

{__doc__.split(chr(10), 2)[2].strip()}

Adjusted Rand index, all rows, noise as a cluster of its own.  {platform.machine()}, Python {platform.python_version()}, two cores.

| data | rows x columns | clusters | limit s | Assay | pick | best | Assay less pick | wall s | trials | family |
|---|---|---|---|---|---|---|---|---|---|---|
""" + "".join(f"{line}\n" for line in lines)


def read(spec: str) -> Set:
    import pandas as pd

    path, _, truth = spec.partition("=")[2].rpartition(":")
    frame = pd.read_csv(path)
    x = frame.drop(columns=[truth]).select_dtypes("number")
    whole = x.notna().all(axis=1)
    return x[whole].to_numpy(float), np.asarray(pd.factorize(frame[truth][whole])[0])


def sets() -> dict[str, Set]:
    """Nothing here is what `clustering_shapes` or `clustering_tables` draw."""
    from sklearn import datasets as d

    found: dict[str, Any] = {}
    shear = np.array([[0.6, -0.6], [-0.4, 0.8]])
    for seed in (170, 171):
        x, y = d.make_blobs(600, random_state=seed)
        found[f"blobs {seed}"] = (x, y)
        found[f"sheared {seed}"] = (x @ shear, y)
        found[f"varied {seed}"] = d.make_blobs(600, cluster_std=[1.0, 2.5, 0.5], random_state=seed)
    found["moons"] = d.make_moons(600, noise=0.05, random_state=30)
    found["thick moons"] = d.make_moons(600, noise=0.15, random_state=31)
    found["circles"] = d.make_circles(600, factor=0.5, noise=0.05, random_state=30)
    found["blobs in 10"] = d.make_blobs(700, n_features=10, centers=4, cluster_std=3.0, random_state=0)
    found["blobs in 30"] = d.make_blobs(700, n_features=30, centers=8, cluster_std=4.5, random_state=1)
    found["eight blobs"] = d.make_blobs(1000, centers=8, random_state=102)
    found["make_classification"] = d.make_classification(
        800,
        n_features=8,
        n_informative=5,
        n_redundant=2,
        n_classes=3,
        n_clusters_per_class=1,
        class_sep=1.7,
        random_state=1,
    )
    for name in ("iris", "wine", "breast_cancer", "digits"):
        found[name] = getattr(d, f"load_{name}")(return_X_y=True)
    return {name: (np.asarray(x, float), np.asarray(y)) for name, (x, y) in found.items()}


def one(running: Any, name: str, x: np.ndarray, y: np.ndarray, seconds: float, pick: float, best: float) -> str:
    import pandas as pd
    from sklearn.metrics import adjusted_rand_score

    frame = pd.DataFrame(x, columns=[f"c{i}" for i in range(x.shape[1])])
    found = ask(running, name.replace(" ", "-"), frame, frame, {"type": "clustering"}, seconds)
    ours = adjusted_rand_score(y, [int(v) for v in found.values])
    return (
        f"| {name} | {len(x)} x {x.shape[1]} | {len(np.unique(y))} | {seconds:g} | {ours:.3f} | {pick:.3f} | {best:.3f} | "
        f"{ours - pick:+.3f} | {found.wall:.1f} | {found.trials} | {found.families[0].split()[0]} |"
    )


def peer(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The index of the grid's pick by silhouette, and the best index in it."""
    from sklearn.metrics import adjusted_rand_score, silhouette_score
    from sklearn.preprocessing import StandardScaler

    z = StandardScaler().fit_transform(x)
    told = []
    for codes in grid(z):
        names, sizes = np.unique(codes, return_counts=True)
        if 2 <= len(names) < len(z) and sizes.max() < len(z):
            told.append(
                (
                    silhouette_score(z, codes, sample_size=min(MANY, len(z)), random_state=0),
                    adjusted_rand_score(y, codes),
                )
            )
    return max(told)[1], max(index for _, index in told)


def grid(z: np.ndarray) -> Iterator[np.ndarray]:
    from sklearn.cluster import DBSCAN, HDBSCAN, AgglomerativeClustering, KMeans, SpectralClustering
    from sklearn.mixture import GaussianMixture
    from sklearn.neighbors import NearestNeighbors

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k in range(2, 13):
            yield KMeans(k, n_init=10 if len(z) <= MANY else 1, random_state=0).fit_predict(z)
            yield GaussianMixture(k, random_state=0).fit_predict(z)
            if len(z) > MANY:
                continue
            yield AgglomerativeClustering(k).fit_predict(z)
            yield AgglomerativeClustering(k, linkage="average").fit_predict(z)
            if len(z) <= 1500:
                yield SpectralClustering(k, affinity="nearest_neighbors", random_state=0).fit_predict(z)
        if len(z) > MANY:
            return
        near = np.sort(NearestNeighbors(n_neighbors=5).fit(z).kneighbors(z)[0][:, -1])
        for share in (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0):
            yield DBSCAN(eps=float(np.quantile(near, share)) + 1e-9).fit_predict(z)
        for size in (5, 10, 15, 25, 50, 100):
            yield HDBSCAN(min_cluster_size=size, copy=True).fit_predict(z)


if __name__ == "__main__":
    main()
