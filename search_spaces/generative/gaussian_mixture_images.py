"""Mixture of Gaussians of pictures, each with a few directions of its own: the baseline to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from assay.families import Cost, Shape, TrialContext
from assay.generation.parts import Pictures
from assay.space import Float, Int
from search_spaces.generative._image_mixture import MOST_ROWS, MixtureImages, fit_mixture


@dataclass(frozen=True)
class MixtureImagesConfig:
    """components: in all; labels share them.  kept: share of the variance that the common directions keep."""

    components: Annotated[int, Int(1, 60, log=True)] = 20
    kept: Annotated[float, Float(0.8, 0.995)] = 0.95
    ridge: Annotated[float, Float(1e-5, 1e-1, log=True)] = 1e-3


class GaussianMixtureImages:
    name: ClassVar[str] = "gaussian_mixture_images"
    tasks: ClassVar[frozenset[str]] = frozenset({"generation"})
    lane: ClassVar[str] = "cpu"
    data: ClassVar[str] = "images"
    Config: ClassVar[type] = MixtureImagesConfig
    reference: ClassVar[str] = (
        "Richardson, Weiss, On GANs and GMMs, NeurIPS 2018; common directions in place of own ones"
    )

    def recipe(self, config: MixtureImagesConfig) -> Any:
        return None

    def steps(self, config: MixtureImagesConfig) -> int:
        return 1

    def cost(self, config: MixtureImagesConfig, shape: Shape) -> Cost:
        n = min(shape.n_rows, MOST_ROWS)
        return Cost(1.0 + 2e-5 * n * config.components, 40 * n * 784 + (64 << 20))

    def fit(self, config: MixtureImagesConfig, data: Pictures, ctx: TrialContext) -> MixtureImages:
        return fit_mixture(config.components, config.kept, config.ridge, data, ctx)


family = GaussianMixtureImages()
