"""Generative adversarial network of rows with mode-specific normalisation, conditioned on the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from assay.families import Cost, Shape, TrialContext
from assay.generation.parts import DrawnParts, Inputs, Rows, joined, one_hot
from assay.space import Choice, Float, Int, When

if TYPE_CHECKING:
    from assay.generation.encoding import Encoding

TEMPERATURE = 0.2  # of the softmax that stands for a draw in training
SLOPE = 0.2
JUDGED = 1500  # samples an epoch is scored by


@dataclass(frozen=True)
class TableGanConfig:
    """critic_rate: the critic's learning rate in units of the maker's.  penalty: of the critic's slope."""

    loss: Annotated[str, Choice("wasserstein", "hinge", "bce")] = "wasserstein"
    penalty: Annotated[float, Float(0.1, 20.0, log=True), When("loss", "wasserstein")] = 5.0
    optimizer: Annotated[str, Choice("adam", "adamw", "rmsprop")] = "adam"
    learning_rate: Annotated[float, Float(5e-5, 3e-3, log=True)] = 5e-4
    critic_rate: Annotated[float, Float(0.5, 4.0, log=True)] = 1.0
    schedule: Annotated[str, Choice("constant", "flat_cos", "cosine")] = "flat_cos"
    critic_steps: Annotated[int, Int(1, 3)] = 2
    dropout: Annotated[float, Float(0.0, 0.5)] = 0.1
    numbers: Annotated[str, Choice("modes", "scores")] = "modes"
    latent: Annotated[int, Choice(16, 32, 64)] = 32
    width: Annotated[int, Choice(64, 128, 256)] = 128
    batch_size: Annotated[int, Choice(128, 256, 512)] = 256
    epochs: Annotated[int, Int(50, 400, log=True)] = 200


@dataclass(frozen=True, eq=False)
class TrainedTableGan:
    """maker: a Sequential from noise and condition to the matrix."""

    encoding: Encoding
    maker: Any
    noise: int
    uniform: int

    def bits(self, data: Rows) -> float:
        return float("nan")

    def emit(self, inputs: Inputs) -> DrawnParts:
        from assay.nn.sequential import emit_sequential

        target = self.encoding.emit_given(inputs)
        start = [inputs.noise] + ([one_hot(inputs.scope, target, self.encoding.n_given)] if target else [])
        out = emit_sequential(inputs.scope, self.maker, joined(inputs.scope, start))
        return self.encoding.emit(inputs, out, target)


class TableGan:
    name: ClassVar[str] = "table_gan"
    tasks: ClassVar[frozenset[str]] = frozenset({"generation"})
    lane: ClassVar[str] = "cpu"
    data: ClassVar[str] = "rows"
    Config: ClassVar[type] = TableGanConfig
    reference: ClassVar[str] = (
        "Xu, Skoularidou, Cuesta-Infante, Veeramachaneni, Modeling Tabular data using Conditional GAN, NeurIPS 2019"
    )

    def recipe(self, config: TableGanConfig) -> Any:
        return None

    def steps(self, config: TableGanConfig) -> int:
        return config.epochs

    def cost(self, config: TableGanConfig, shape: Shape) -> Cost:
        weights = 2 * config.width * (shape.n_features * 10 + config.latent + 2 * config.width)
        batches = config.epochs * max(1, shape.n_rows // config.batch_size)
        each = (1 + config.critic_steps) * (3e-3 + 8 * weights * config.batch_size / 2e10)
        return Cost(0.5 + batches * each, 60 * weights + 120 * shape.n_rows * shape.n_features + (64 << 20))

    def fit(self, config: TableGanConfig, data: Rows, ctx: TrialContext) -> TrainedTableGan:
        import torch
        from torch import nn
        from torch.nn import functional as F

        from assay.generation.encoding import fit_encoding
        from assay.metrics.generation import Made, Real, frechet
        from assay.training.adversarial import Game, play
        from assay.training.optim import Rule

        torch.manual_seed(ctx.seed)
        encoding = fit_encoding(data.layout, data.train, config.numbers, ctx.rng)
        d, g, w = encoding.width, encoding.n_given, config.width
        x_, _ = encoding.matrix(data.train, ctx.rng)
        x, given = torch.from_numpy(x_).to(ctx.device), torch.from_numpy(encoding.given(data.train)).to(ctx.device)
        held, _ = encoding.matrix(data.valid, ctx.rng)
        held_given = torch.from_numpy(encoding.given(data.valid)).to(ctx.device)
        n, size = len(x), min(config.batch_size, len(x))
        maker = nn.Sequential(
            nn.Linear(config.latent + g, w), nn.BatchNorm1d(w), nn.ReLU(), nn.Linear(w, w), nn.BatchNorm1d(w), nn.ReLU(),
            nn.Linear(w, d),
        )  # fmt: skip

        class Critic(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.body = nn.Sequential(
                    nn.Linear(d + g, w), nn.LeakyReLU(SLOPE), nn.Dropout(config.dropout),
                    nn.Linear(w, w), nn.LeakyReLU(SLOPE), nn.Dropout(config.dropout), nn.Linear(w, 1),
                )  # fmt: skip

            def forward(self, rows: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
                told: torch.Tensor = self.body(torch.cat([rows, condition], 1))
                return told[:, 0]

        def make(module: nn.Module, condition: torch.Tensor) -> torch.Tensor:
            noise = torch.randn(len(condition), config.latent, device=condition.device)
            out = module(torch.cat([noise, condition], 1))
            pieces: list[torch.Tensor] = []
            for b in encoding.blocks:  # a soft draw while training, a hard one when judged
                piece = out[:, b.first : b.first + b.width]
                if b.kind != "number":
                    piece = F.gumbel_softmax(piece, TEMPERATURE, hard=not module.training)
                if b.gate is not None:  # codes come first, so what opens the gate is there
                    piece = piece * torch.cat(pieces, 1)[:, b.gate : b.gate + 1]
                pieces.append(piece)
            return torch.cat(pieces, 1)

        def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
            rows = torch.from_numpy(np.random.default_rng([ctx.seed, step]).choice(n, size, replace=False))
            return x[rows], given[rows]

        real = Real(held, held[:JUDGED], held[:1])

        def score(module: nn.Module) -> float:
            made = make(module, held_given[:JUDGED]).cpu().numpy()
            return -frechet(real, Made(made, made))

        rules = [
            Rule(config.optimizer, rate, momentum=0.0, beta1=0.5, beta2=0.9)
            for rate in (config.learning_rate, config.learning_rate * config.critic_rate)
        ]
        game = Game(
            config.loss, rules[0], rules[1], config.epochs, max(1, n // size), config.schedule,
            config.penalty if config.loss == "wasserstein" else 0.0, config.critic_steps,
            patience=max(30, config.epochs // 3),
        )  # fmt: skip
        play(maker, Critic(), batch, make, score, game, ctx)
        maker.to("cpu")
        return TrainedTableGan(encoding, maker, config.latent, encoding.uniform)


family = TableGan()
