"""K-means with k-means++ starts; in mini-batches where there are many rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from assay.clustering.assign import Nearest, by_size
from assay.clustering.family import ClusterFamily, Scan, spread_costs
from assay.clustering.space import Place
from assay.families import Cost, Shape, TrialContext
from assay.space import Choice, Float, Int

FULL_ROWS = 10_000  # past it: mini-batches


@dataclass(frozen=True)
class KMeansConfig:
    """n_clusters: 0 scans.  starts: of k-means++.  See Place for the rest."""

    n_clusters: Annotated[int, Int(0, 50)] = 0
    starts: Annotated[int, Int(1, 10)] = 4
    scaling: Annotated[str, Choice("standard", "robust", "none")] = "standard"
    components: Annotated[int, Choice(0, 2, 3, 5, 10, 20)] = 0
    categories: Annotated[float, Float(0.25, 2.0, log=True)] = 1.0


class KMeansFamily(ClusterFamily):
    name: ClassVar[str] = "kmeans"
    Config: ClassVar[type] = KMeansConfig
    reference: ClassVar[str] = (
        "Arthur, Vassilvitskii, k-means++: The Advantages of Careful Seeding, SODA 2007; "
        "Sculley, Web-Scale K-Means Clustering, WWW 2010 (mini-batches)"
    )

    def recipe(self, config: KMeansConfig) -> Place:
        return Place(config.scaling, config.components, config.categories)

    def cost(self, config: KMeansConfig, shape: Shape) -> Cost:
        rows = min(shape.n_rows, FULL_ROWS)
        return spread_costs(shape, self.steps(config) * config.starts * 2e-6 * rows * (1 + shape.n_features / 20))

    def search(self, config: KMeansConfig, x: np.ndarray, scan: Scan, ctx: TrialContext) -> None:
        from sklearn.cluster import KMeans, MiniBatchKMeans

        for k, told in scan.numbers(config, len(x)):
            if len(x) <= FULL_ROWS:
                fitted = KMeans(k, n_init=config.starts, max_iter=200, random_state=ctx.seed % 2**31).fit(x)
            else:
                fitted = MiniBatchKMeans(
                    k, n_init=config.starts, batch_size=4096, max_iter=60, random_state=ctx.seed % 2**31
                ).fit(x)
            order = by_size(np.asarray(fitted.labels_, np.int64))
            place = np.full(k, -1)
            place[fitted.labels_] = order
            centres = np.asarray(fitted.cluster_centers_, np.float32)[place >= 0]
            told.append(scan.offer(Nearest(centres, place[place >= 0].astype(np.int64)), n_clusters=k))


family = KMeansFamily()
