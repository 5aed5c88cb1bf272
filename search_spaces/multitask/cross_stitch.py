"""Cross-stitch networks: a tower for every target that takes in the others' layers by learned shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from assay.data.prepare import Recipe
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.multitask.recipe import MultiRecipe
from assay.space import Choice, Float, Int
from search_spaces.multitask._training import TASK, TOLD, Training, cost_of, fit_net

if TYPE_CHECKING:
    from assay.nn.cross_stitch import CrossStitch


@dataclass(frozen=True)
class CrossStitchConfig(Training):
    """own: the share that a tower's own layer has at first."""

    width: Annotated[int, Choice(16, 32, 64, 128)] = 64
    depth: Annotated[int, Int(1, 4)] = 2
    own: Annotated[float, Float(0.5, 0.95)] = 0.9
    activation: Annotated[str, Choice("relu", "gelu", "silu")] = "relu"
    numbers: Annotated[str, Choice("standard", "quantile", "robust")] = "standard"


class Family:
    name: ClassVar[str] = "cross_stitch"
    tasks: ClassVar[frozenset[str]] = frozenset({TASK})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = CrossStitchConfig
    reference: ClassVar[str] = (
        "Misra, Shrivastava, Gupta, Hebert: Cross-Stitch Networks for Multi-task Learning. CVPR 2016"
    )

    def recipe(self, config: CrossStitchConfig) -> MultiRecipe:
        return MultiRecipe(Recipe(numbers=config.numbers, impute=True, categories="onehot"))

    def steps(self, config: CrossStitchConfig) -> int:
        return config.epochs

    def cost(self, config: CrossStitchConfig, shape: Shape) -> Cost:
        return cost_of(_net(config, shape.n_features, (1,) * TOLD), config, shape, nodes=1.0 + 0.25 * config.depth)

    def fit(self, config: CrossStitchConfig, data: Split, ctx: TrialContext) -> Predictor:
        return fit_net(config, data, ctx, lambda d, targets: _net(config, d, tuple(t.width for t in targets)))


def _net(config: CrossStitchConfig, d: int, outputs: tuple[int, ...]) -> CrossStitch:
    from assay.nn.cross_stitch import CrossStitch

    return CrossStitch(d, outputs, config.width, config.depth, config.own, config.activation)


family = Family()
