"""Oriented gradients and a logistic regression: the first answer, after seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Float
from search_spaces.image._pixels import GradientWish, gradients_of


@dataclass(frozen=True)
class HogLinearConfig:
    """side: pixels that the gradients are taken of; fine: cells of 4 pixels, else of 8 alone."""

    side: Annotated[int, Choice(32, 48, 64)] = 32
    directions: Annotated[int, Choice(8, 12, 16)] = 8
    colour: Annotated[bool, Choice(False, True)] = True
    l2: Annotated[float, Float(1e-5, 1e-1, log=True)] = 3e-3


class HogLinear:
    name: ClassVar[str] = "hog_linear"
    tasks: ClassVar[frozenset[str]] = frozenset({"image_classification"})
    lane: ClassVar[str] = "cpu"
    rank: ClassVar[int] = -1  # first however many pictures there are: nets are worth starting for less, but end late
    fits_whole: ClassVar[bool] = True
    Config: ClassVar[type] = HogLinearConfig
    reference: ClassVar[str] = (
        "Dalal, Triggs: Histograms of Oriented Gradients for Human Detection. CVPR 2005; with a multinomial logistic "
        "regression where the paper has a linear SVM, for its probabilities"
    )

    def recipe(self, config: HogLinearConfig) -> GradientWish:
        return GradientWish(config.side, (4, 8), config.directions, config.colour)

    def steps(self, config: HogLinearConfig) -> int:
        return 1

    def cost(self, config: HogLinearConfig, shape: Shape) -> Cost:
        d, features = gradients_of(shape, config.side, config.directions)
        seconds = 0.1 + features + shape.n_rows * d * max(2, shape.n_classes) * 1e-7
        return Cost(seconds, 300_000_000 + 12 * shape.n_rows * d)

    def fit(self, config: HogLinearConfig, data: Split, ctx: TrialContext) -> Predictor:
        from search_spaces.image._heads import fit_logistic

        return fit_logistic(data, ctx, config.l2)


family = HogLinear()
