"""Multi-gate mixture of experts: shared experts that every target weighs in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from assay.data.prepare import Recipe
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.multitask.recipe import MultiRecipe
from assay.space import Choice, Int
from search_spaces.multitask._training import TASK, TOLD, Training, cost_of, fit_net

if TYPE_CHECKING:
    from assay.nn.mmoe import Mmoe


@dataclass(frozen=True)
class MmoeConfig(Training):
    """experts: how many; width and depth are of each."""

    experts: Annotated[int, Int(2, 8)] = 4
    width: Annotated[int, Choice(16, 32, 64, 128)] = 64
    depth: Annotated[int, Int(1, 3)] = 2
    head_width: Annotated[int, Choice(0, 16, 32)] = 16
    activation: Annotated[str, Choice("relu", "gelu", "silu")] = "relu"
    numbers: Annotated[str, Choice("standard", "quantile", "robust")] = "standard"


class Family:
    name: ClassVar[str] = "mmoe"
    tasks: ClassVar[frozenset[str]] = frozenset({TASK})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = MmoeConfig
    reference: ClassVar[str] = (
        "Ma, Zhao, Yi, Chen, Hong, Chi: Modeling Task Relationships in Multi-task Learning with Multi-gate "
        "Mixture-of-Experts. KDD 2018"
    )

    def recipe(self, config: MmoeConfig) -> MultiRecipe:
        return MultiRecipe(Recipe(numbers=config.numbers, impute=True, categories="onehot"))

    def steps(self, config: MmoeConfig) -> int:
        return config.epochs

    def cost(self, config: MmoeConfig, shape: Shape) -> Cost:
        return cost_of(_net(config, shape.n_features, (1,) * TOLD), config, shape, nodes=1.2 + 0.15 * config.experts)

    def fit(self, config: MmoeConfig, data: Split, ctx: TrialContext) -> Predictor:
        return fit_net(config, data, ctx, lambda d, targets: _net(config, d, tuple(t.width for t in targets)))


def _net(config: MmoeConfig, d: int, outputs: tuple[int, ...]) -> Mmoe:
    from assay.nn.mmoe import Mmoe

    return Mmoe(d, outputs, config.experts, config.width, config.depth, config.head_width, config.activation)


family = Family()
