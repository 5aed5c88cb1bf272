"""MMD-Net: what a picture is and where in it, learned in two stages or at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from assay.data.prepare import Recipe
from assay.families import Cost, Shape, Split, TrialContext
from assay.multitask.seen import SeenWish
from assay.space import Choice, Float, When
from search_spaces.multitask._pictures import Pictured, PicturePredictor, cost_of
from search_spaces.multitask._stages import Lessons, fit_labels, fit_masks, fit_together

THAWED_RATE = 0.1  # of the learning rate, once everything is trained together at last
THAWED_SHARE = 0.3  # of the time, for that
STAGES = 3  # that may report as many epochs each


@dataclass(frozen=True)
class Sharing(Pictured):
    """Two stages: the backbone and the auxiliary net learn what is told of the whole picture, then both are frozen and the
    segmentation net learns on their features.  "joint" trains all at once (a pretrained backbone stays frozen), "thawed"
    trains everything together at last, at a small rate.

    first: share of the time that stage one may take.  guide: weight in it of what the backbone's maps tell of the mask, so
    that they look where things are.  mask_rate: learning rate of stage two as a multiple of stage one's.
    """

    training: Annotated[str, Choice("two_stage", "joint", "thawed")] = "two_stage"
    first: Annotated[float, Float(0.3, 0.7), When("training", "two_stage", "thawed")] = 0.5
    guide: Annotated[float, Float(0.0, 1.5), When("training", "two_stage", "thawed")] = 0.5
    mask_rate: Annotated[float, Float(0.3, 3.0, log=True), When("training", "two_stage", "thawed")] = 1.0


class Family:
    name: ClassVar[str] = "mmd_net"
    form: ClassVar[str] = "pictures"
    tasks: ClassVar[frozenset[str]] = frozenset({"multitask"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = Sharing
    reference: ClassVar[str] = (
        "No paper of this name and design; see assay/nn/mmd_net.py.  Uncertainty weighting: Kendall, Gal, Cipolla: "
        "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and Semantics. CVPR 2018"
    )

    def recipe(self, config: Sharing) -> SeenWish:
        return SeenWish(Recipe(numbers="quantile", impute=True, categories="onehot"))

    def steps(self, config: Sharing) -> int:
        return STAGES * config.epochs

    def cost(self, config: Sharing, shape: Shape) -> Cost:
        return cost_of(config, shape)

    def fit(self, config: Sharing, data: Split, ctx: TrialContext) -> Any:
        """Stage by stage; a stop ends the stage and all that would follow."""
        lessons = Lessons(config, data, ctx)
        net = lessons.net()
        if config.training == "joint" or not (len(lessons.told) and len(lessons.drawn)):
            if lessons.backbone == "pretrained":
                net.fix(net.backbone)
            fit_together(lessons, net, 1.0)
        else:
            last = THAWED_SHARE if config.training == "thawed" else 0.0
            if lessons.backbone == "pretrained":
                net.fix(net.backbone)
            fit_labels(lessons, net, config.first * (1 - last), guide=config.guide)
            net.fix(net.backbone, net.auxiliary, *([net.heads] if net.heads is not None else []))
            first = config.first * (1 - last)  # of all the time; what follows gets shares of the rest
            fit_masks(lessons, net, (1 - first - last) / (1 - first), config.mask_rate)
            if last:
                net.fix()
                fit_together(lessons, net, 1.0, THAWED_RATE)
        net.eval()
        return PicturePredictor(
            net if lessons.target.labels else None, net if lessons.target.mask else None, lessons.lesson.units
        )


family = Family()
