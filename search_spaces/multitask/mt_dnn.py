"""MT-DNN: one encoder of texts shared by all targets, then fine-tuned for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from assay.data.texts import TextRecipe
from assay.errors import TrialStopped
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Float, Int, When
from search_spaces.multitask._texts import (
    GAIN,
    VIEW,
    Lessons,
    Reading,
    TextPredictor,
    copied,
    cost_of,
    fit_one,
    fit_together,
    no_texts,
    skills_of,
)


@dataclass(frozen=True)
class MtDnnConfig(Reading):
    """damping: batches are drawn in proportion to a target's labels to this power; 1 is as they are, 0 all alike.  tune:
    a copy for every target is trained on for it, and kept where it is better on validation rows; tune_rate: its learning
    rate as a multiple."""

    damping: Annotated[float, Float(0.0, 1.0)] = 0.5
    tune: Annotated[bool, Choice(True, False)] = True
    tune_rate: Annotated[float, Float(0.05, 1.0, log=True), When("tune", True)] = 0.3
    tune_epochs: Annotated[int, Int(2, 12), When("tune", True)] = 5


class Family:
    name: ClassVar[str] = "mt_dnn"
    form: ClassVar[str] = "texts"
    tasks: ClassVar[frozenset[str]] = frozenset({"multitask"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = MtDnnConfig
    reference: ClassVar[str] = (
        "Liu, He, Chen, Gao: Multi-Task Deep Neural Networks for Natural Language Understanding. ACL 2019"
    )

    def recipe(self, config: MtDnnConfig) -> TextRecipe:
        return TextRecipe((VIEW,))

    def steps(self, config: MtDnnConfig) -> int:
        return config.epochs

    def cost(self, config: MtDnnConfig, shape: Shape) -> Cost:
        return cost_of(config, shape, 1.0 + (0.5 if config.tune else 0.0))

    def fit(self, config: MtDnnConfig, data: Split, ctx: TrialContext) -> Predictor:
        if ctx.seconds_left() <= 0 or no_texts(data):
            raise TrialStopped
        lessons = Lessons(config, data, ctx)
        shared = lessons.net()
        fit_together(lessons, shared, config.damping, 0.65 if config.tune else 1.0)
        nets = [shared] * len(lessons.heads)
        order = np.argsort([len(r) for r in lessons.rows], kind="stable")  # small ones gain most: they come first
        for k, i in enumerate(order.tolist() if config.tune else []):
            if ctx.seconds_left() <= 0.5 or not len(lessons.rows[i]):
                break
            before = float(skills_of(lessons, shared, [i])[0])
            own = copied(shared)
            after = fit_one(lessons, own, i, 1.0 / (len(order) - k), config.tune_rate, config.tune_epochs)
            if after > before + GAIN:
                nets[i] = own.eval()
        return TextPredictor(tuple(n.eval() for n in nets), lessons.spans, lessons.lesson.units)


family = Family()
