"""Oriented gradients and a kernel machine: what HOG with an SVM is, quicker, with probabilities and as a graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Float, Int
from search_spaces.image._pixels import GradientWish, gradients_of


@dataclass(frozen=True)
class HogKernelConfig:
    """width: the kernel's, as a multiple of the usual distance between two pictures."""

    side: Annotated[int, Choice(32, 48, 64)] = 48
    directions: Annotated[int, Choice(8, 12, 16)] = 8
    colour: Annotated[bool, Choice(False, True)] = True
    width: Annotated[float, Float(0.2, 3.0, log=True)] = 0.8
    landmarks: Annotated[int, Int(200, 3000, log=True)] = 1500
    components: Annotated[int, Int(32, 600, log=True)] = 256


class HogKernel:
    name: ClassVar[str] = "hog_kernel"
    tasks: ClassVar[frozenset[str]] = frozenset({"image_classification"})
    lane: ClassVar[str] = "cpu"
    fits_whole: ClassVar[bool] = True
    Config: ClassVar[type] = HogKernelConfig
    reference: ClassVar[str] = (
        "Dalal, Triggs: Histograms of Oriented Gradients for Human Detection. CVPR 2005; Williams, Seeger: Using the "
        "Nystroem Method to Speed Up Kernel Machines. NIPS 2000"
    )

    def recipe(self, config: HogKernelConfig) -> GradientWish:
        return GradientWish(config.side, (4, 8), config.directions, config.colour)

    def steps(self, config: HogKernelConfig) -> int:
        return 1

    def cost(self, config: HogKernelConfig, shape: Shape) -> Cost:
        d, features = gradients_of(shape, config.side, config.directions)
        m = min(config.landmarks, shape.n_rows)
        seconds = 0.2 + features + shape.n_rows * (d * 2e-7 + m * m * 2.5e-10) + 1e-9 * m**3
        return Cost(seconds, 300_000_000 + shape.n_rows * (12 * d + 24 * m))

    def fit(self, config: HogKernelConfig, data: Split, ctx: TrialContext) -> Predictor:
        from search_spaces.image._heads import fit_kernel

        return fit_kernel(data, ctx, config.landmarks, config.width, config.components)


family = HogKernel()
