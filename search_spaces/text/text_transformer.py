"""A self-attention encoder trained from scratch on the job's own subwords; it shows where it attends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.data.texts import TextRecipe
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Float, Int, When
from search_spaces.text._nets import ADAPTIVE, Training, fit_net


@dataclass(frozen=True)
class TextTransformerConfig(Training):
    """d: width, d / 32 heads.  layers: each self-attention and a feed-forward part of twice the width."""

    learning_rate: Annotated[float, Float(1e-4, 5e-3, log=True), When("optimizer", *ADAPTIVE)] = 1e-3
    dropout: Annotated[float, Float(0.0, 0.5)] = 0.2
    d: Annotated[int, Choice(64, 96, 128)] = 64
    layers: Annotated[int, Int(1, 4)] = 2


class TextTransformer:
    name: ClassVar[str] = "text_transformer"
    tasks: ClassVar[frozenset[str]] = frozenset({"text_classification", "text_regression"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = TextTransformerConfig
    reference: ClassVar[str] = (
        "Vaswani et al.: Attention Is All You Need. NeurIPS 2017; pre-norm: Xiong et al.: On Layer Normalization in the "
        "Transformer Architecture. ICML 2020"
    )

    def recipe(self, config: TextTransformerConfig) -> TextRecipe:
        return TextRecipe(("pieces",))

    def steps(self, config: TextTransformerConfig) -> int:
        return config.epochs

    def cost(self, config: TextTransformerConfig, shape: Shape) -> Cost:
        # multiplications of a text, of which a usual one has some 32 subwords
        work = 32 * shape.text_length(600, 40) * config.layers * (8 * config.d**2 + 64 * config.d)
        steps = shape.n_rows / config.batch_size
        seconds = config.epochs * (
            shape.n_rows * work * 2.5e-10 + steps * (4e-3 + 4e-5 * config.d + 6e-3 * config.layers)
        )
        rows = config.batch_size * 128 * config.layers * (14 * config.d + 4 * 128 * config.d // 32) * 8
        return Cost(0.1 + seconds, int(shape.n_rows * 1_500 + rows + 3_000 * config.d * 24 + 4e7))

    def fit(self, config: TextTransformerConfig, data: Split, ctx: TrialContext) -> Predictor:
        from assay.nn.text_encoder import TextEncoder

        return fit_net(
            config, data, ctx, "pieces",
            lambda size, width, k: TextEncoder(
                size, width, config.d, config.d // 32, config.layers, config.dropout, k
            ),
        )  # fmt: skip


family = TextTransformer()
