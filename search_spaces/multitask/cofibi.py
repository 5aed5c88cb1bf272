"""CoFiBi for several targets: gated fields and their bilinear products under one trunk, a head for each target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from assay.data.prepare import Recipe
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.multitask.recipe import MultiRecipe
from assay.space import Choice, Float, Int, When
from search_spaces.multitask._training import TASK, TOLD, Training, cost_of, fit_net

if TYPE_CHECKING:
    from assay.nn.cofibi import CoFiBi


@dataclass(frozen=True)
class CoFiBiConfig(Training):
    """embedding: how a number becomes a vector of `vector` values; sigma: of its frequencies."""

    embedding: Annotated[str, Choice("ple", "periodic", "linear")] = "ple"
    sigma: Annotated[float, Float(0.03, 3.0, log=True), When("embedding", "periodic")] = 0.1
    vector: Annotated[int, Choice(4, 8, 16)] = 8
    bilinear: Annotated[str, Choice("all", "each", "interaction")] = "each"
    product: Annotated[str, Choice("inner", "hadamard")] = "inner"
    width: Annotated[int, Choice(32, 64, 128, 256)] = 64
    depth: Annotated[int, Int(1, 3)] = 2
    head_width: Annotated[int, Choice(0, 16, 32)] = 16
    numbers: Annotated[str, Choice("standard", "quantile", "robust")] = "standard"


class Family:
    name: ClassVar[str] = "cofibi_multitask"
    tasks: ClassVar[frozenset[str]] = frozenset({TASK})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = CoFiBiConfig
    reference: ClassVar[str] = (
        "Huang, Zhang, Zhang: FiBiNET: Combining Feature Importance and Bilinear Feature Interaction for Click-Through "
        "Rate Prediction. RecSys 2019"
    )

    def recipe(self, config: CoFiBiConfig) -> MultiRecipe:
        return MultiRecipe(Recipe(numbers=config.numbers, impute=True, categories="onehot", max_onehot=32))

    def steps(self, config: CoFiBiConfig) -> int:
        return config.epochs

    def cost(self, config: CoFiBiConfig, shape: Shape) -> Cost:
        net = _net(config, tuple(range(shape.n_features)), (1,) * TOLD)
        return cost_of(net, config, shape, nodes=1.6)

    def fit(self, config: CoFiBiConfig, data: Split, ctx: TrialContext) -> Predictor:
        groups = tuple((np.arange(data.x.shape[1]) if data.groups is None else data.groups).tolist())
        return fit_net(config, data, ctx, lambda d, targets: _net(config, groups, tuple(t.width for t in targets)))


def _net(config: CoFiBiConfig, groups: tuple[int, ...], outputs: tuple[int, ...]) -> CoFiBi:
    from assay.nn.cofibi import CoFiBi
    from assay.nn.fields import Fields

    fields = Fields(groups, config.vector, config.embedding, config.sigma)
    return CoFiBi(fields, outputs, config.bilinear, config.product, config.width, config.depth, config.head_width)


family = Family()
