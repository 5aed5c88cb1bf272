"""Agglomerative clustering: one tree of mergers, cut at every number of clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from assay.clustering.assign import Nearest, by_size
from assay.clustering.family import ClusterFamily, Scan, drawn, spread_costs
from assay.clustering.space import Place
from assay.families import Cost, Shape, TrialContext
from assay.space import Choice, Float, Int

ROWS = 3000  # rows in the tree


@dataclass(frozen=True)
class AgglomerativeConfig:
    """n_clusters: 0 scans.  linkage: "single" is over mutual reachability distances, so that a bridge of a few rows does
    not join clusters.  See Place for the rest."""

    n_clusters: Annotated[int, Int(0, 50)] = 0
    linkage: Annotated[str, Choice("ward", "average", "complete", "single")] = "ward"
    scaling: Annotated[str, Choice("standard", "robust", "none")] = "standard"
    components: Annotated[int, Choice(0, 2, 3, 5, 10, 20)] = 0
    categories: Annotated[float, Float(0.25, 2.0, log=True)] = 1.0


class AgglomerativeFamily(ClusterFamily):
    name: ClassVar[str] = "agglomerative"
    Config: ClassVar[type] = AgglomerativeConfig
    reference: ClassVar[str] = (
        "Ward, Hierarchical Grouping to Optimize an Objective Function, JASA 58, 1963; "
        "Murtagh, Contreras, Algorithms for hierarchical clustering: an overview, WIREs 2012"
    )

    def recipe(self, config: AgglomerativeConfig) -> Place:
        return Place(config.scaling, config.components, config.categories)

    def cost(self, config: AgglomerativeConfig, shape: Shape) -> Cost:
        rows = min(shape.n_rows, ROWS)
        return spread_costs(shape, 0.1 + 6e-8 * rows * rows + self.steps(config) * 2e-5 * rows, 40 * rows)

    def search(self, config: AgglomerativeConfig, x: np.ndarray, scan: Scan, ctx: TrialContext) -> None:
        from scipy.cluster.hierarchy import fcluster, linkage
        from scipy.spatial.distance import pdist

        from assay.clustering.criteria import cut_by_size, nearest_member
        from assay.clustering.evidence import Evidence

        part = drawn(x, ctx, ROWS)
        if config.linkage == "single":
            evidence = Evidence(part.astype(np.float64), ctx.seed % 2**31)
            for k, told in scan.numbers(config, len(part)):
                cut = cut_by_size(evidence.tree, len(part), k, max(3, len(part) // (15 * k)))
                if cut is not None:
                    told.append(
                        scan.offer(Nearest(part, by_size(nearest_member(evidence.distances, cut))), n_clusters=k)
                    )
            return
        tree = linkage(part.astype(np.float64) if config.linkage == "ward" else pdist(part), config.linkage)
        for k, told in scan.numbers(config, len(part)):
            codes = np.asarray(fcluster(tree, k, "maxclust"), np.int64) - 1
            told.append(scan.offer(Nearest(part, by_size(codes)), n_clusters=k))


family = AgglomerativeFamily()
