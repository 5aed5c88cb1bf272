"""Spectral clustering of a graph of nearest neighbours, over a sample of the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from assay.clustering.assign import Nearest, by_size
from assay.clustering.family import ClusterFamily, Scan, drawn, spread_costs
from assay.clustering.space import Place
from assay.families import Cost, Shape, TrialContext
from assay.space import Choice, Float, Int

ROWS = 2000  # rows in the graph
MOST = 40  # clusters


@dataclass(frozen=True)
class SpectralConfig:
    """n_clusters: 0 scans.  neighbours: of a row in the graph.  See Place for the rest."""

    n_clusters: Annotated[int, Int(0, 40)] = 0
    neighbours: Annotated[int, Int(5, 30, log=True)] = 10
    scaling: Annotated[str, Choice("standard", "robust", "none")] = "standard"
    components: Annotated[int, Choice(0, 2, 3, 5, 10, 20)] = 0
    categories: Annotated[float, Float(0.25, 2.0, log=True)] = 1.0


class SpectralFamily(ClusterFamily):
    name: ClassVar[str] = "spectral"
    Config: ClassVar[type] = SpectralConfig
    reference: ClassVar[str] = (
        "Ng, Jordan, Weiss, On Spectral Clustering: Analysis and an Algorithm, NIPS 2001; local scales after "
        "Zelnik-Manor, Perona, Self-Tuning Spectral Clustering, NIPS 2004"
    )

    def recipe(self, config: SpectralConfig) -> Place:
        return Place(config.scaling, config.components, config.categories)

    def cost(self, config: SpectralConfig, shape: Shape) -> Cost:
        rows = min(shape.n_rows, ROWS)
        return spread_costs(shape, 0.3 + 1e-7 * rows * rows + self.steps(config) * 2e-5 * rows, 20 * rows)

    def search(self, config: SpectralConfig, x: np.ndarray, scan: Scan, ctx: TrialContext) -> None:
        from scipy.spatial.distance import cdist
        from sklearn.cluster import KMeans

        from assay.clustering.criteria import embedding

        part = drawn(x, ctx, ROWS)
        distances = cdist(part, part).astype(np.float32)
        np.fill_diagonal(distances, -1.0)
        q = min(config.neighbours, len(part) - 1)
        near = np.argsort(distances, axis=1, kind="stable")[:, 1 : q + 1]
        vectors = embedding(near, distances, min(MOST, len(part) - 2), ctx.seed % 2**31)
        for k, told in scan.numbers(config, len(part)):
            if k > vectors.shape[1]:
                continue
            rows = vectors[:, :k] / np.maximum(np.linalg.norm(vectors[:, :k], axis=1, keepdims=True), 1e-12)
            codes = KMeans(k, n_init=3, max_iter=100, random_state=ctx.seed % 2**31).fit_predict(rows)
            told.append(scan.offer(Nearest(part, by_size(np.asarray(codes, np.int64))), n_clusters=k))


family = SpectralFamily()
