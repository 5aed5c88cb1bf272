"""The single-task twins of MT-DNN: for every target a net of its own of the same size, in a share of the time."""

from __future__ import annotations

from typing import ClassVar

from assay.data.texts import TextRecipe
from assay.errors import TrialStopped
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from search_spaces.multitask._texts import VIEW, Lessons, Reading, TextPredictor, cost_of, fit_one, no_texts


class Family:
    """Every net has the whole encoder to itself, and as many epochs as the shared one."""

    name: ClassVar[str] = "mt_dnn_alone"
    form: ClassVar[str] = "texts"
    tasks: ClassVar[frozenset[str]] = frozenset({"multitask"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = Reading
    reference: ClassVar[str] = "Vaswani et al.: Attention Is All You Need. NeurIPS 2017"

    def recipe(self, config: Reading) -> TextRecipe:
        return TextRecipe((VIEW,))

    def steps(self, config: Reading) -> int:
        return config.epochs

    def cost(self, config: Reading, shape: Shape) -> Cost:
        return cost_of(config, shape, 1.0)

    def fit(self, config: Reading, data: Split, ctx: TrialContext) -> Predictor:
        if ctx.seconds_left() <= 0 or no_texts(data):
            raise TrialStopped
        lessons = Lessons(config, data, ctx)
        nets = []
        for i in range(len(lessons.heads)):
            net = lessons.net()
            if len(lessons.rows[i]) and ctx.seconds_left() > 0:
                fit_one(lessons, net, i, 1.0 / (len(lessons.heads) - i))
            nets.append(net.eval())
        return TextPredictor(tuple(nets), lessons.spans, lessons.lesson.units)


family = Family()
