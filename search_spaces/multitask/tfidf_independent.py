"""A linear model over n-grams for every target, delivered together: the strong and simple peer of nets over texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from assay.data.texts import TextRecipe
from assay.errors import TrialStopped
from assay.families import Cost, Predictor, Shape, Split, TrialContext, discover
from assay.multitask.single import Part, Share, Together, single
from assay.multitask.targets import Truth
from assay.space import Choice, Float
from search_spaces.multitask._training import TASK, TOLD


@dataclass(frozen=True)
class TfidfConfig:
    """As those of `tfidf_linear`."""

    C: Annotated[float, Float(0.03, 300.0, log=True)] = 8.0
    words: Annotated[int, Choice(0, 1, 2, 3)] = 2
    char_scale: Annotated[float, Float(0.3, 2.0, log=True)] = 1.0


class Family:
    name: ClassVar[str] = "tfidf_independent"
    form: ClassVar[str] = "texts"
    tasks: ClassVar[frozenset[str]] = frozenset({TASK})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = TfidfConfig
    reference: ClassVar[str] = (
        "Wang, Manning: Baselines and Bigrams: Simple, Good Sentiment and Topic Classification. ACL 2012"
    )

    def recipe(self, config: TfidfConfig) -> TextRecipe:
        return TextRecipe(("chars", "words"))

    def steps(self, config: TfidfConfig) -> int:
        return 1

    def cost(self, config: TfidfConfig, shape: Shape) -> Cost:
        """That of TOLD targets of two classes."""
        one = _model().cost(_config(config), Shape(shape.n_rows, shape.n_features, 2))
        return Cost(TOLD * one.seconds, one.host_bytes, one.device_bytes)

    def fit(self, config: TfidfConfig, data: Split, ctx: TrialContext) -> Predictor:
        assert isinstance(data.y, Truth)
        parts = []
        n = len(data.y.targets)
        for i in range(n):
            if ctx.seconds_left() <= 0:
                raise TrialStopped
            split, mean, deviation = single(data, i)
            predictor = _model().fit(_config(config), split, Share(ctx, ctx.seconds_left() / (n - i)))
            parts.append(Part(predictor, mean, deviation))
        return Together(parts)


def _model() -> Any:
    return discover()["tfidf_linear"]


def _config(config: TfidfConfig) -> Any:
    return _model().Config(C=config.C, words=config.words, char_scale=config.char_scale)


family = Family()
