"""HDBSCAN: the most persistent clusters of a density tree, of differing densities, with noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from assay.clustering.assign import Nearest, by_size
from assay.clustering.family import ClusterFamily, Scan, drawn, spread_costs
from assay.clustering.space import Place
from assay.families import Cost, Shape, TrialContext
from assay.space import Choice, Float, Int

ROWS = 4000  # rows in the tree
SIZES = (
    0.005,
    0.01,
    0.015,
    0.02,
    0.03,
    0.045,
    0.065,
    0.1,
    0.15,
    0.22,
)  # smallest clusters tried, as shares of the rows


@dataclass(frozen=True)
class HdbscanConfig:
    """smallest: least share of the rows in a cluster; 0 scans.  min_samples: neighbours that tell how dense a place is.
    selection: "eom" prefers few stable clusters, "leaf" many even ones.  noise: "keep", or "nearest" gives noise the
    cluster of the nearest row in one.  See Place for the rest."""

    smallest: Annotated[float, Float(0.0, 0.3)] = 0.0
    min_samples: Annotated[int, Int(2, 40, log=True)] = 5
    selection: Annotated[str, Choice("eom", "leaf")] = "eom"
    noise: Annotated[str, Choice("keep", "nearest")] = "keep"
    scaling: Annotated[str, Choice("standard", "robust", "none")] = "standard"
    components: Annotated[int, Choice(0, 2, 3, 5, 10, 20)] = 0
    categories: Annotated[float, Float(0.25, 2.0, log=True)] = 1.0


class HdbscanFamily(ClusterFamily):
    name: ClassVar[str] = "hdbscan"
    Config: ClassVar[type] = HdbscanConfig
    reference: ClassVar[str] = (
        "Campello, Moulavi, Zimek, Sander, Hierarchical Density Estimates for Data Clustering, Visualization, and Outlier "
        "Detection, TKDD 2015"
    )

    def recipe(self, config: HdbscanConfig) -> Place:
        return Place(config.scaling, config.components, config.categories)

    def steps(self, config: HdbscanConfig) -> int:
        return 1 if config.smallest else len(SIZES)

    def cost(self, config: HdbscanConfig, shape: Shape) -> Cost:
        rows = min(shape.n_rows, ROWS)
        return spread_costs(shape, 0.05 + self.steps(config) * 4e-5 * rows * (1 + shape.n_features / 10), ROWS)

    def search(self, config: HdbscanConfig, x: np.ndarray, scan: Scan, ctx: TrialContext) -> None:
        from sklearn.cluster import HDBSCAN
        from sklearn.neighbors import NearestNeighbors

        part = drawn(x, ctx, ROWS).astype(np.float64)
        q = min(config.min_samples, len(part) - 1)
        core = NearestNeighbors(n_neighbors=q + 1).fit(part).kneighbors(part)[0][:, -1]
        tried: set[int] = set()
        for share in (config.smallest,) if config.smallest else SIZES:
            size = max(3, round(share * len(part)))
            if size in tried or size > len(part) // 2:
                continue
            if not scan.in_time():
                return
            tried.add(size)
            fitted = HDBSCAN(
                min_cluster_size=size, min_samples=q, cluster_selection_method=config.selection, copy=True
            ).fit(part)
            codes = by_size(np.asarray(fitted.labels_, np.int64))
            held = codes >= 0
            if codes.max() < 1:
                continue
            if config.noise == "nearest":
                scan.offer(Nearest(part[held].astype(np.float32), codes[held]), smallest=share)
            else:
                # a new row joins within the sparsest place of any cluster; noise of the sample stays noise
                scan.offer(
                    Nearest(part.astype(np.float32), codes, float(core[held].max()) * (1.0 + 1e-5)), smallest=share
                )


family = HdbscanFamily()
