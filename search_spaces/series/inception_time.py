"""InceptionTime: convolutions of several widths over the series, trained from scratch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.data.series import SeriesRecipe
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Float, Int, When
from search_spaces.series._seqnets import ADAPTIVE, Training, fit_net


@dataclass(frozen=True)
class InceptionTimeFamilyConfig(Training):
    """d: filters of one width.  width: of the widest, in steps; the others have a half and a quarter of it."""

    learning_rate: Annotated[float, Float(1e-4, 1e-2, log=True), When("optimizer", *ADAPTIVE)] = 3e-3
    d: Annotated[int, Choice(8, 16, 32)] = 8
    depth: Annotated[int, Int(1, 6)] = 3
    width: Annotated[int, Choice(9, 19, 39)] = 19


class InceptionTimeFamily:
    name: ClassVar[str] = "inception_time"
    tasks: ClassVar[frozenset[str]] = frozenset({"sequence_classification"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = InceptionTimeFamilyConfig
    reference: ClassVar[str] = (
        "Ismail Fawaz et al.: InceptionTime: Finding AlexNet for Time Series Classification. DMKD 34, 2020"
    )

    def recipe(self, config: InceptionTimeFamilyConfig) -> SeriesRecipe:
        return SeriesRecipe(config.scale, config.length)

    def steps(self, config: InceptionTimeFamilyConfig) -> int:
        return config.epochs

    def cost(self, config: InceptionTimeFamilyConfig, shape: Shape) -> Cost:
        steps = max(8, shape.n_features)
        work = config.depth * steps * (2 * config.width * config.d**2 + 8 * config.d**2)  # multiplications of a series
        seconds = config.epochs * shape.n_rows * (1.2e-9 * work + 2e-3 * config.depth / config.batch_size)
        held = config.batch_size * steps * config.d * config.depth * 12 * 8
        return Cost(0.2 + seconds, int(8 * shape.n_rows * steps + held + 4e7))

    def fit(self, config: InceptionTimeFamilyConfig, data: Split, ctx: TrialContext) -> Predictor:
        from assay.nn.conv1d import InceptionTime

        return fit_net(
            config, data, ctx,
            lambda channels, steps, k: InceptionTime(channels, config.d, config.depth, config.width, config.dropout, k),
        )  # fmt: skip


family = InceptionTimeFamily()
