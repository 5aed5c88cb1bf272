"""Responses to patches learnt from the pictures themselves, and a linear model or a kernel machine on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Float, Int, When
from search_spaces.image._pixels import PatchWish, side_seen


@dataclass(frozen=True)
class PatchFeaturesConfig:
    """filters: patches that are learnt; threshold: below it a response is nothing; grid: cells a side."""

    side: Annotated[int, Choice(32, 48)] = 32
    filters: Annotated[int, Int(64, 512, log=True)] = 160
    size: Annotated[int, Choice(5, 6, 8)] = 6
    grid: Annotated[int, Choice(2, 3, 4)] = 3
    threshold: Annotated[float, Choice(0.25, 0.5, 1.0)] = 0.5
    head: Annotated[str, Choice("linear", "kernel")] = "kernel"
    l2: Annotated[float, Float(1e-5, 1e-1, log=True), When("head", "linear")] = 3e-3
    width: Annotated[float, Float(0.2, 3.0, log=True), When("head", "kernel")] = 0.8


class PatchFeatures:
    name: ClassVar[str] = "patch_features"
    tasks: ClassVar[frozenset[str]] = frozenset({"image_classification"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = PatchFeaturesConfig
    reference: ClassVar[str] = (
        "Coates, Ng, Lee: An Analysis of Single-Layer Networks in Unsupervised Feature Learning. AISTATS 2011"
    )

    def recipe(self, config: PatchFeaturesConfig) -> PatchWish:
        return PatchWish(config.side, config.filters, config.size, config.grid, config.threshold)

    def steps(self, config: PatchFeaturesConfig) -> int:
        return 1

    def cost(self, config: PatchFeaturesConfig, shape: Shape) -> Cost:
        d = 2 * config.filters * config.grid**2
        side = side_seen(shape, config.side)
        responses = config.filters * (side - min(config.size, side // 2)) ** 2
        per_row = responses * (3 * config.size**2 * 5e-11 + 5e-9)
        seconds = 2.0 + shape.n_rows * (per_row + d * 2.5e-7) + (3.0 if config.head == "kernel" else 0.0)
        return Cost(seconds, 400_000_000 + 16 * shape.n_rows * d)

    def fit(self, config: PatchFeaturesConfig, data: Split, ctx: TrialContext) -> Predictor:
        from search_spaces.image._heads import fit_kernel, fit_logistic

        if config.head == "linear":
            return fit_logistic(data, ctx, config.l2)
        return fit_kernel(data, ctx, 1500, config.width, 256)


family = PatchFeatures()
