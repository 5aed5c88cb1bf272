"""Wasserstein generative adversarial network with a gradient penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from assay.families import Cost, Shape, TrialContext
from assay.generation.parts import Pictures
from assay.space import Choice, Float, Int


@dataclass(frozen=True)
class WganConfig:
    """critic_rate: the critic's learning rate in units of the maker's.  penalty: of slopes other than one."""

    penalty: Annotated[float, Float(0.5, 20.0, log=True)] = 5.0
    optimizer: Annotated[str, Choice("adam", "adamw", "rmsprop")] = "adam"
    learning_rate: Annotated[float, Float(5e-5, 2e-3, log=True)] = 1e-3
    critic_rate: Annotated[float, Float(0.5, 4.0, log=True)] = 1.0
    schedule: Annotated[str, Choice("constant", "flat_cos", "cosine")] = "flat_cos"
    critic_steps: Annotated[int, Int(1, 5)] = 2
    latent: Annotated[int, Choice(16, 32, 64)] = 32
    width: Annotated[int, Choice(16, 32, 48)] = 16
    batch_size: Annotated[int, Choice(32, 64, 128)] = 64
    epochs: Annotated[int, Int(50, 1000, log=True)] = 300


class WganGp:
    name: ClassVar[str] = "wgan_gp"
    tasks: ClassVar[frozenset[str]] = frozenset({"generation"})
    lane: ClassVar[str] = "cpu"
    data: ClassVar[str] = "images"
    keeps_time: ClassVar[bool] = True
    Config: ClassVar[type] = WganConfig
    reference: ClassVar[str] = (
        "Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville, Improved Training of Wasserstein GANs, NeurIPS 2017"
    )

    def recipe(self, config: WganConfig) -> Any:
        return None

    def steps(self, config: WganConfig) -> int:
        return config.epochs

    def cost(self, config: WganConfig, shape: Shape) -> Cost:
        from search_spaces.generative._image_gan import seconds

        took = seconds(config.epochs, config.batch_size, config.width, config.critic_steps, 3.0)
        return Cost(took, (256 << 20) + 8000 * shape.n_rows)

    def fit(self, config: WganConfig, data: Pictures, ctx: TrialContext) -> Any:
        from assay.training.adversarial import Game
        from assay.training.optim import Rule
        from search_spaces.generative._image_gan import AVERAGE, PER_EPOCH, Nets, fit_game

        rules = [
            Rule(config.optimizer, rate, momentum=0.0, beta1=0.5, beta2=0.9)
            for rate in (config.learning_rate, config.learning_rate * config.critic_rate)
        ]
        game = Game(
            "wasserstein", rules[0], rules[1], config.epochs,
            PER_EPOCH, config.schedule, config.penalty, config.critic_steps, AVERAGE,
            patience=max(40, config.epochs // 3), fitted=True,
        )  # fmt: skip
        return fit_game(Nets(config.latent, config.width, 0.0), game, config.batch_size, data, ctx)


family = WganGp()
