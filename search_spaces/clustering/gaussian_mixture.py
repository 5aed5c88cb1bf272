"""Mixtures of normal distributions, fitted by expectation-maximisation."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from assay.clustering.assign import Components, by_size
from assay.clustering.family import ClusterFamily, Scan, drawn, spread_costs
from assay.clustering.space import Place
from assay.families import Cost, Shape, TrialContext
from assay.space import Choice, Float, Int

ROWS = 8000  # rows the mixture is fitted to; more change its few numbers little


@dataclass(frozen=True)
class MixtureConfig:
    """n_clusters: 0 scans.  ridge: added to every variance.  See Place for the rest."""

    n_clusters: Annotated[int, Int(0, 50)] = 0
    covariance: Annotated[str, Choice("full", "tied", "diag", "spherical")] = "full"
    starts: Annotated[int, Int(1, 5)] = 1
    ridge: Annotated[float, Float(1e-5, 0.1, log=True)] = 1e-4
    scaling: Annotated[str, Choice("standard", "robust", "none")] = "standard"
    components: Annotated[int, Choice(0, 2, 3, 5, 10, 20)] = 0
    categories: Annotated[float, Float(0.25, 2.0, log=True)] = 1.0


class MixtureFamily(ClusterFamily):
    name: ClassVar[str] = "gaussian_mixture"
    Config: ClassVar[type] = MixtureConfig
    reference: ClassVar[str] = (
        "Fraley, Raftery, Model-Based Clustering, Discriminant Analysis, and Density Estimation, JASA 97, 2002"
    )

    def recipe(self, config: MixtureConfig) -> Place:
        return Place(config.scaling, config.components, config.categories)

    def cost(self, config: MixtureConfig, shape: Shape) -> Cost:
        rows, d = min(shape.n_rows, ROWS), shape.n_features
        return spread_costs(shape, self.steps(config) * config.starts * 1e-5 * rows * (4 + d * d / 20), ROWS)

    def search(self, config: MixtureConfig, x: np.ndarray, scan: Scan, ctx: TrialContext) -> None:
        from sklearn.mixture import GaussianMixture

        part = drawn(x, ctx, ROWS).astype(np.float64)
        for k, told in scan.numbers(config, len(part)):
            if k * (part.shape[1] if config.covariance == "full" else 2) > len(part):
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a start that has not converged is judged like any other
                fitted = GaussianMixture(
                    k, covariance_type=config.covariance, n_init=config.starts, reg_covar=config.ridge, max_iter=100,
                    random_state=ctx.seed % 2**31,
                ).fit(part)  # fmt: skip
            told.append(scan.offer(components(fitted, part), n_clusters=k))


def components(fitted: object, part: np.ndarray) -> Components:
    """The mixture as numbers, components ordered from the largest."""
    mean, kind = np.asarray(fitted.means_), fitted.covariance_type  # type: ignore[attr-defined]
    k, d = mean.shape
    cholesky = np.asarray(fitted.precisions_cholesky_)  # type: ignore[attr-defined]
    if kind == "full":
        whiten = cholesky
    elif kind == "tied":
        whiten = np.repeat(cholesky[None], k, axis=0)
    elif kind == "diag":
        whiten = np.stack([np.diag(row) for row in cholesky])
    else:
        whiten = np.stack([np.eye(d) * value for value in cholesky])
    bias = np.log(np.maximum(fitted.weights_, 1e-300)) + np.log(np.abs(np.diagonal(whiten, axis1=1, axis2=2))).sum(1)  # type: ignore[attr-defined]
    plain = Components(bias, mean, whiten)
    codes = plain.predict(part.astype(np.float32))[:, 0].astype(np.int64)
    used, first = np.unique(codes, return_index=True)
    order = used[np.argsort(by_size(codes)[first])]
    return Components(bias[order], mean[order], whiten[order])


family = MixtureFamily()
