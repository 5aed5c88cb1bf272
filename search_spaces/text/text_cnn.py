"""Convolutions over the subwords of a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.data.texts import TextRecipe
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice
from search_spaces.text._nets import Training, fit_net

_SPANS = {"1-3": (1, 2, 3), "2-4": (2, 3, 4), "3-5": (3, 4, 5), "1-5": (1, 2, 3, 4, 5)}


@dataclass(frozen=True)
class TextCnnConfig(Training):
    """spans: lengths of the filters, in subwords.  filters: of each length.  d: width of embeddings."""

    spans: Annotated[str, Choice(*_SPANS)] = "1-3"
    filters: Annotated[int, Choice(32, 64, 128)] = 64
    d: Annotated[int, Choice(32, 64, 128)] = 64


class TextCnn:
    name: ClassVar[str] = "text_cnn"
    tasks: ClassVar[frozenset[str]] = frozenset({"text_classification", "text_regression"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = TextCnnConfig
    reference: ClassVar[str] = "Kim: Convolutional Neural Networks for Sentence Classification. EMNLP 2014"

    def recipe(self, config: TextCnnConfig) -> TextRecipe:
        return TextRecipe(("pieces",))

    def steps(self, config: TextCnnConfig) -> int:
        return config.epochs

    def cost(self, config: TextCnnConfig, shape: Shape) -> Cost:
        spans = _SPANS[config.spans]
        # multiplications of a text, of which a usual one has some 32 subwords
        work = 32 * shape.text_length(600, 40) * config.d * config.filters * sum(spans)
        steps = shape.n_rows / config.batch_size
        seconds = config.epochs * (shape.n_rows * work * 3e-10 + steps * (4e-3 + 4e-5 * config.d))
        rows = config.batch_size * 128 * (config.d + config.filters * len(spans)) * 24
        return Cost(0.1 + seconds, int(shape.n_rows * 1_500 + rows + 3_000 * config.d * 24 + 4e7))

    def fit(self, config: TextCnnConfig, data: Split, ctx: TrialContext) -> Predictor:
        from assay.nn.text_cnn import TextCnn as Net

        spans = _SPANS[config.spans]
        return fit_net(
            config, data, ctx, "pieces",
            lambda size, width, k: Net(size, config.d, spans, config.filters, config.dropout, k),
        )  # fmt: skip


family = TextCnn()
