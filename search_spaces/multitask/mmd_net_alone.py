"""The single-task twins of MMD-Net: two nets of the same size in the same time, one for the mask and one for the rest."""

from __future__ import annotations

from typing import Any, ClassVar

from assay.data.prepare import Recipe
from assay.families import Cost, Shape, Split, TrialContext
from assay.multitask.seen import SeenWish
from search_spaces.multitask._pictures import Pictured, PicturePredictor, cost_of
from search_spaces.multitask._stages import Lessons, fit_labels, fit_masks


class Family:
    """Each net has the sub-networks that its task needs, all of them trained for it, in half of the time."""

    name: ClassVar[str] = "mmd_net_alone"
    form: ClassVar[str] = "pictures"
    tasks: ClassVar[frozenset[str]] = frozenset({"multitask"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = Pictured
    reference: ClassVar[str] = (
        "Ronneberger, Fischer, Brox: U-Net. MICCAI 2015; He et al.: Deep Residual Learning. CVPR 2016"
    )

    def recipe(self, config: Pictured) -> SeenWish:
        return SeenWish(Recipe(numbers="quantile", impute=True, categories="onehot"))

    def steps(self, config: Pictured) -> int:
        return 2 * config.epochs

    def cost(self, config: Pictured, shape: Shape) -> Cost:
        return cost_of(config, shape)

    def fit(self, config: Pictured, data: Split, ctx: TrialContext) -> Any:
        lessons = Lessons(config, data, ctx)
        teller = segmenter = None
        if lessons.target.labels:
            teller = lessons.net(mask=False)
            if lessons.backbone == "pretrained":
                teller.fix(teller.backbone)
            fit_labels(lessons, teller, 0.5 if lessons.target.mask else 1.0)
            teller.eval()
        if lessons.target.mask:
            segmenter = lessons.net(labels=False)
            if lessons.backbone == "pretrained":
                segmenter.fix(segmenter.backbone)
            fit_masks(lessons, segmenter, 1.0)
            segmenter.eval()
        return PicturePredictor(teller, segmenter, lessons.lesson.units)


family = Family()
