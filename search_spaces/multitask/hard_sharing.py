"""Hard parameter sharing: one trunk for all targets and a head for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from assay.data.prepare import Recipe
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.multitask.recipe import MultiRecipe
from assay.space import Choice, Int
from search_spaces.multitask._training import TASK, TOLD, Training, cost_of, fit_net

if TYPE_CHECKING:
    from assay.nn.hard_sharing import HardSharing


@dataclass(frozen=True)
class HardSharingConfig(Training):
    """head_width 0: a head is one affine map."""

    width: Annotated[int, Choice(32, 64, 128, 256)] = 128
    depth: Annotated[int, Int(1, 4)] = 2
    head_width: Annotated[int, Choice(0, 16, 32, 64)] = 32
    activation: Annotated[str, Choice("relu", "gelu", "silu")] = "relu"
    numbers: Annotated[str, Choice("standard", "quantile", "robust")] = "standard"


class Family:
    name: ClassVar[str] = "hard_sharing"
    tasks: ClassVar[frozenset[str]] = frozenset({TASK})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = HardSharingConfig
    reference: ClassVar[str] = "Caruana: Multitask Learning. Machine Learning 28, 1997"

    def recipe(self, config: HardSharingConfig) -> MultiRecipe:
        return MultiRecipe(Recipe(numbers=config.numbers, impute=True, categories="onehot"))

    def steps(self, config: HardSharingConfig) -> int:
        return config.epochs

    def cost(self, config: HardSharingConfig, shape: Shape) -> Cost:
        return cost_of(_net(config, shape.n_features, (1,) * TOLD), config, shape)

    def fit(self, config: HardSharingConfig, data: Split, ctx: TrialContext) -> Predictor:
        return fit_net(config, data, ctx, lambda d, targets: _net(config, d, tuple(t.width for t in targets)))


def _net(config: HardSharingConfig, d: int, outputs: tuple[int, ...]) -> HardSharing:
    from assay.nn.hard_sharing import HardSharing

    return HardSharing(d, outputs, config.width, config.depth, config.head_width, config.activation)


family = Family()
