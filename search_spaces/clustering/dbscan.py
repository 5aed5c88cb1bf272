"""DBSCAN at several density levels; rows in no dense place are noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from assay.clustering.assign import NOISE, Nearest, by_size
from assay.clustering.family import ClusterFamily, Scan, drawn, spread_costs
from assay.clustering.space import Place
from assay.families import Cost, Shape, TrialContext
from assay.space import Choice, Float, Int

ROWS = 4000  # rows whose density is looked at; eps suits this sample, whatever the table's size
LEVELS = (0.3, 0.5, 0.65, 0.75, 0.82, 0.87, 0.91, 0.94, 0.96, 0.975, 0.985, 0.993, 1.0)


@dataclass(frozen=True)
class DbscanConfig:
    """min_samples: rows within eps of a core point, itself included.  level: eps as the share of rows that are core points;
    0 scans.  noise: "keep", or "nearest" gives noise the cluster of the nearest core point.  See Place for the rest."""

    min_samples: Annotated[int, Int(3, 40, log=True)] = 5
    level: Annotated[float, Float(0.0, 1.0)] = 0.0
    noise: Annotated[str, Choice("keep", "nearest")] = "keep"
    scaling: Annotated[str, Choice("standard", "robust", "none")] = "standard"
    components: Annotated[int, Choice(0, 2, 3, 5, 10, 20)] = 0
    categories: Annotated[float, Float(0.25, 2.0, log=True)] = 1.0


class DbscanFamily(ClusterFamily):
    name: ClassVar[str] = "dbscan"
    Config: ClassVar[type] = DbscanConfig
    reference: ClassVar[str] = (
        "Ester, Kriegel, Sander, Xu, A Density-Based Algorithm for Discovering Clusters in Large Spatial Databases with "
        "Noise, KDD 1996; Schubert et al., DBSCAN Revisited, Revisited, TODS 2017"
    )

    def recipe(self, config: DbscanConfig) -> Place:
        return Place(config.scaling, config.components, config.categories)

    def steps(self, config: DbscanConfig) -> int:
        return 1 if config.level else len(LEVELS)

    def cost(self, config: DbscanConfig, shape: Shape) -> Cost:
        rows = min(shape.n_rows, ROWS)
        return spread_costs(shape, 0.05 + self.steps(config) * 2e-5 * rows * (1 + shape.n_features / 10), ROWS)

    def search(self, config: DbscanConfig, x: np.ndarray, scan: Scan, ctx: TrialContext) -> None:
        from sklearn.cluster import DBSCAN
        from sklearn.neighbors import NearestNeighbors

        part = drawn(x, ctx, ROWS).astype(np.float64)
        q = min(config.min_samples, len(part))
        near = np.sort(NearestNeighbors(n_neighbors=q).fit(part).kneighbors(part)[0][:, -1])
        positive = near[near > 0]
        if not len(positive):
            return
        for level in (config.level,) if config.level else LEVELS:
            if not scan.in_time():
                return
            # a little more than the distance itself: float32 rounding must not turn a core point into noise
            eps = float(np.quantile(positive, level)) * (1.0 + 1e-5)
            if level == 1.0:
                eps *= 1.3
            fitted = DBSCAN(eps=eps, min_samples=q).fit(part)
            core = np.asarray(fitted.core_sample_indices_)
            if not len(core):
                continue
            codes = by_size(np.asarray(fitted.labels_, np.int64)[core])
            if codes.max() < 1 or codes.max() > len(part) // 4:
                continue
            assert NOISE not in codes
            radius = eps if config.noise == "keep" else float("inf")
            scan.offer(Nearest(part[core].astype(np.float32), codes, radius), level=level)


family = DbscanFamily()
