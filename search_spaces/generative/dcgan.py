"""Deep convolutional generative adversarial network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from assay.families import Cost, Shape, TrialContext
from assay.generation.parts import Pictures
from assay.space import Choice, Float, Int

BETA2 = 0.99


@dataclass(frozen=True)
class DcganConfig:
    """critic_rate: the critic's learning rate in units of the maker's.  flat: weight of the critic's squared slopes at real
    pictures; without them a critic of few pictures is soon too sure to teach."""

    loss: Annotated[str, Choice("bce", "hinge")] = "bce"
    optimizer: Annotated[str, Choice("adam", "adamw", "rmsprop")] = "adam"
    learning_rate: Annotated[float, Float(1e-4, 4e-3, log=True)] = 1e-3
    critic_rate: Annotated[float, Float(0.25, 4.0, log=True)] = 1.0
    beta1: Annotated[float, Float(0.0, 0.9)] = 0.0
    flat: Annotated[float, Float(0.05, 20.0, log=True)] = 1.0
    schedule: Annotated[str, Choice("constant", "flat_cos", "cosine")] = "flat_cos"
    dropout: Annotated[float, Float(0.0, 0.5)] = 0.0
    latent: Annotated[int, Choice(16, 32, 64)] = 32
    width: Annotated[int, Choice(16, 32, 48)] = 16
    batch_size: Annotated[int, Choice(32, 64, 128)] = 64
    epochs: Annotated[int, Int(50, 1000, log=True)] = 300


class Dcgan:
    name: ClassVar[str] = "dcgan"
    tasks: ClassVar[frozenset[str]] = frozenset({"generation"})
    lane: ClassVar[str] = "cpu"
    data: ClassVar[str] = "images"
    keeps_time: ClassVar[bool] = True
    Config: ClassVar[type] = DcganConfig
    reference: ClassVar[str] = (
        "Radford, Metz, Chintala, Unsupervised Representation Learning with Deep Convolutional GANs, ICLR 2016"
    )

    def recipe(self, config: DcganConfig) -> Any:
        return None

    def steps(self, config: DcganConfig) -> int:
        return config.epochs

    def cost(self, config: DcganConfig, shape: Shape) -> Cost:
        from search_spaces.generative._image_gan import seconds

        return Cost(seconds(config.epochs, config.batch_size, config.width, 1, 1.0), (256 << 20) + 8000 * shape.n_rows)

    def fit(self, config: DcganConfig, data: Pictures, ctx: TrialContext) -> Any:
        from assay.training.adversarial import Game
        from assay.training.optim import Rule
        from search_spaces.generative._image_gan import AVERAGE, PER_EPOCH, Nets, fit_game

        rules = [
            Rule(config.optimizer, rate, momentum=0.0, beta1=config.beta1, beta2=BETA2)
            for rate in (config.learning_rate, config.learning_rate * config.critic_rate)
        ]
        game = Game(
            config.loss, rules[0], rules[1], config.epochs, PER_EPOCH, config.schedule, average=AVERAGE,
            patience=max(40, config.epochs // 3), fitted=True, flat=config.flat,
        )  # fmt: skip
        return fit_game(Nets(config.latent, config.width, config.dropout), game, config.batch_size, data, ctx)


family = Dcgan()
