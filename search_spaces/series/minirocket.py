"""MiniRocket: thousands of fixed patterns, and a ridge over how often each is met."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.data.series import SeriesRecipe
from assay.errors import TrialStopped
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Float, When
from search_spaces.series._seqheads import FeaturePredictor, fit_ridge
from search_spaces.series._seqkernels import fit_kernels, n_kernels
from search_spaces.tabular._answers import constant_answer


@dataclass(frozen=True)
class MiniRocketConfig:
    """differences: the same patterns in the differences of neighbours, too.  means: MultiRocket's mean of what lies above
    a threshold, too.  penalty: "loo" takes the one with the best leave-one-out scores."""

    scale: Annotated[str, Choice("rows", "series")] = "rows"
    length: Annotated[str, Choice("hold", "stretch")] = "hold"
    n_features: Annotated[int, Choice(1000, 2500, 5000, 10000)] = 2500
    differences: Annotated[bool, Choice(False, True)] = False
    means: Annotated[bool, Choice(False, True)] = False
    penalty: Annotated[str, Choice("loo", "given")] = "loo"
    strength: Annotated[float, Float(1e-3, 1e3, log=True), When("penalty", "given")] = 1.0


class MiniRocket:
    name: ClassVar[str] = "minirocket"
    tasks: ClassVar[frozenset[str]] = frozenset({"sequence_classification"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = MiniRocketConfig
    reference: ClassVar[str] = (
        "Dempster, Schmidt, Webb: MiniRocket: A Very Fast (Almost) Deterministic Transform for Time Series "
        "Classification. KDD 2021; Tan, Dempster, Bergmeir, Webb: MultiRocket. DMKD 36, 2022"
    )

    def recipe(self, config: MiniRocketConfig) -> SeriesRecipe:
        return SeriesRecipe(config.scale, config.length)

    def steps(self, config: MiniRocketConfig) -> int:
        return 1

    def cost(self, config: MiniRocketConfig, shape: Shape) -> Cost:
        n, steps = shape.n_rows, max(9, shape.n_features)
        twice = 2 if config.differences else 1
        convolved = n * steps * n_kernels(steps) * twice
        compared = n * steps * config.n_features
        side = min(n, config.n_features, 3_000)
        seconds = 4e-9 * convolved + 8e-10 * compared + 2e-9 * side**3 + 2e-10 * n * config.n_features * side
        return Cost(0.05 + seconds, 24 * n * config.n_features + 16 * side**2 + 12 * n * steps + (1 << 27))

    def fit(self, config: MiniRocketConfig, data: Split, ctx: TrialContext) -> Predictor:
        import torch

        constant = constant_answer(data)
        if constant is not None:
            return constant
        torch.set_num_threads(ctx.threads)
        kernels = fit_kernels(data.x, config.n_features, ctx.seed, config.differences, config.means)
        if ctx.seconds_left() <= 0:
            raise TrialStopped
        features = kernels.of(data.x)
        strength = None if config.penalty == "loo" else config.strength
        return FeaturePredictor(kernels, fit_ridge(features, data, ctx.seed, strength))


family = MiniRocket()
