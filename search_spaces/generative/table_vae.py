"""Variational autoencoder of rows: a code of normal numbers, and a network that writes rows from it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from assay.families import Cost, Shape, TrialContext
from assay.generation.parts import DrawnParts, Inputs, Rows, joined, one_hot
from assay.space import Choice, Float, Int

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from assay.generation.encoding import Encoding

IMPORTANCE = 32  # codes drawn for each row in the bound on its likelihood


@dataclass(frozen=True)
class TableVaeConfig:
    """beta: weight of the KL term.  number_loss: of the deviations from what was written.  warm_up: share of training in
    which beta grows to its value."""

    optimizer: Annotated[str, Choice("adam", "adamw", "rmsprop")] = "adamw"
    learning_rate: Annotated[float, Float(2e-4, 1e-2, log=True)] = 2e-3
    weight_decay: Annotated[float, Float(1e-6, 1e-1, log=True)] = 1e-5
    schedule: Annotated[str, Choice("constant", "cosine", "one_cycle", "flat_cos")] = "cosine"
    beta: Annotated[float, Float(0.05, 2.0, log=True)] = 1.0
    warm_up: Annotated[float, Float(0.0, 0.5)] = 0.2
    number_loss: Annotated[str, Choice("gaussian", "laplace")] = "gaussian"
    numbers: Annotated[str, Choice("scores", "modes")] = "scores"
    latent: Annotated[int, Choice(4, 8, 16, 32)] = 16
    width: Annotated[int, Choice(64, 128, 256)] = 128
    depth: Annotated[int, Int(1, 3)] = 2
    batch_size: Annotated[int, Choice(64, 128, 256)] = 128
    epochs: Annotated[int, Int(30, 400, log=True)] = 150


@dataclass(frozen=True, eq=False)
class TrainedTableVae:
    """net: from noise and condition to the matrix; deviations: (numbers,) of what is written around it."""

    config: TableVaeConfig
    encoding: Encoding
    net: Any
    noise: int
    uniform: int

    def bits(self, data: Rows) -> float:
        """From the importance-weighted bound (Burda, Grosse, Salakhutdinov, ICLR 2016), with the target's shares."""
        import torch

        if self.config.numbers != "scores" or self.config.number_loss != "gaussian":
            return float("nan")
        rng = np.random.default_rng(0)
        rows = data.valid.take(np.arange(min(1000, len(data.valid))))
        x, counts = self.encoding.matrix(rows, rng)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            given = torch.from_numpy(self.encoding.given(rows))
            bounds = self.net.bound(torch.from_numpy(x), torch.from_numpy(counts), given, IMPORTANCE, generator)
        total = float(bounds.mean())
        if self.encoding.layout.target is not None:
            code = rows.codes[:, self.encoding.layout.target]
            total += float(np.log(np.maximum(self.encoding.shares[code], 1e-9)).mean())
        return -total / math.log(2) / max(1, len(data.layout.sizes) + len(data.layout.gates))

    def emit(self, inputs: Inputs) -> DrawnParts:
        from assay.nn.sequential import emit_sequential

        s, latent = inputs.scope, self.config.latent
        target = self.encoding.emit_given(inputs)
        start = [inputs.z(0, latent)] + ([one_hot(s, target, self.encoding.n_given)] if target else [])
        out = emit_sequential(s, self.net.decoder, joined(s, start))
        at = self.net.at.numpy()
        if len(at):  # what is written spreads around what the network says
            scatter = np.zeros((len(at), self.encoding.width), np.float32)
            scatter[np.arange(len(at)), at] = self.net.deviations().detach().numpy()
            noise = inputs.z(latent, len(at))
            if self.config.number_loss == "laplace":
                noise = _laplace(inputs, noise)
            out = s.add("Add", out, s.add("MatMul", noise, s.const(scatter)))
        return self.encoding.emit(inputs, out, target)


def _laplace(inputs: Inputs, noise: str) -> str:
    """Normal numbers made Laplace: sign(z) * -log(2 (1 - cdf(|z|))), the cdf by erf."""
    s = inputs.scope
    size = s.add("Abs", noise)
    tail = s.add("Sub", s.const(np.float32(1)), s.add("Erf", s.add("Mul", size, s.const(np.float32(np.sqrt(0.5))))))
    spread = s.add("Neg", s.add("Log", s.add("Max", tail, s.const(np.float32(1e-6)))))
    return s.add("Mul", s.add("Sign", noise), spread)


class TableVae:
    name: ClassVar[str] = "table_vae"
    tasks: ClassVar[frozenset[str]] = frozenset({"generation"})
    lane: ClassVar[str] = "cpu"
    data: ClassVar[str] = "rows"
    Config: ClassVar[type] = TableVaeConfig
    reference: ClassVar[str] = (
        "Kingma, Welling, Auto-Encoding Variational Bayes, ICLR 2014; for tables: Xu et al., NeurIPS 2019 (TVAE)"
    )

    def recipe(self, config: TableVaeConfig) -> Any:
        return None

    def steps(self, config: TableVaeConfig) -> int:
        return config.epochs

    def cost(self, config: TableVaeConfig, shape: Shape) -> Cost:
        weights = 2 * config.width * (shape.n_features * 6 + config.latent + config.depth * config.width)
        batches = config.epochs * max(1, shape.n_rows // config.batch_size)
        seconds = 0.3 + batches * (1.5e-3 + 6 * weights * config.batch_size / 2e10)
        return Cost(seconds, 40 * weights + 60 * shape.n_rows * shape.n_features + (64 << 20))

    def fit(self, config: TableVaeConfig, data: Rows, ctx: TrialContext) -> TrainedTableVae:
        import torch

        from assay.generation.encoding import fit_encoding
        from assay.training.loop import LoopPlan, fit_module
        from assay.training.optim import Rule

        torch.manual_seed(ctx.seed)
        encoding = fit_encoding(data.layout, data.train, config.numbers, ctx.rng)
        net = _net(config, encoding)
        arrays = (*encoding.matrix(data.train, ctx.rng), encoding.given(data.train))
        held = (*encoding.matrix(data.valid, ctx.rng), encoding.given(data.valid))
        x, counts, given = (torch.from_numpy(a).to(ctx.device) for a in arrays)
        xv, cv, gv = (torch.from_numpy(a[:2000]).to(ctx.device) for a in held)
        n, size = len(x), min(config.batch_size, len(x))
        per_epoch = n // size
        done = 0

        def batches(epoch: int) -> Iterator[Any]:
            order = torch.from_numpy(np.random.default_rng([ctx.seed, epoch]).permutation(n))
            for i in range(per_epoch):
                rows = order[i * size : (i + 1) * size]
                yield (x[rows], counts[rows], given[rows]), None

        def loss(module: nn.Module, batch: Any) -> Tensor:
            nonlocal done
            done += 1
            share = done / max(1.0, config.warm_up * config.epochs * per_epoch)
            value: Tensor = module(*batch[0], config.beta * min(1.0, share))
            return value

        def score(module: nn.Module) -> float:
            generator = torch.Generator(device=ctx.device).manual_seed(0)
            return float(net.bound(xv, cv, gv, 4, generator).mean()) / max(1, encoding.width)

        rule = Rule(config.optimizer, config.learning_rate, momentum=0.0, weight_decay=config.weight_decay)
        plan = LoopPlan(rule, config.epochs, config.schedule, patience=max(20, config.epochs // 4), clip=5.0)
        fit_module(net, batches, loss, score, per_epoch, plan, ctx)
        net.to("cpu")
        return TrainedTableVae(config, encoding, net, config.latent + len(net.at), encoding.uniform)


def _net(config: TableVaeConfig, encoding: Encoding) -> Any:
    """The network, defined where torch is imported."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    from assay.generation.encoding import groups

    d, g = encoding.width, encoding.n_given

    def stack(a: int, b: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for _ in range(config.depth):
            layers += [nn.Linear(a, config.width), nn.ReLU()]
            a = config.width
        return nn.Sequential(*layers, nn.Linear(a, b))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = stack(d + g, 2 * config.latent)
            self.decoder = stack(config.latent + g, d)
            at = [b.first for b in encoding.blocks if b.kind == "number"]
            self.at = torch.tensor(at, dtype=torch.int64)
            self.log_deviation = nn.Parameter(torch.full((len(at),), -1.0))

        def deviations(self) -> torch.Tensor:
            return self.log_deviation.clamp(-5.0, 1.0).exp()

        def encode(self, x: torch.Tensor, given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            mean, log_var = self.encoder(torch.cat([x, given], 1)).chunk(2, 1)
            return mean, log_var.clamp(-10.0, 5.0)

        def log_p(self, x: torch.Tensor, counts: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
            """Log likelihood of rows (…, B, d) -> (…, B)."""
            total = torch.zeros(out.shape[:-1], device=out.device)
            for first, width in groups(encoding.blocks):
                share = F.log_softmax(out[..., first : first + width], -1)
                total = total + (share * x[:, first : first + width] * counts[:, first : first + width]).sum(-1)
            if len(self.at):
                deviation = self.deviations()
                apart = (out[..., self.at] - x[:, self.at]) / deviation
                if config.number_loss == "gaussian":
                    each = -0.5 * apart**2 - deviation.log() - 0.5 * float(np.log(2 * np.pi))
                else:
                    each = -apart.abs() - (2 * deviation).log()
                total = total + (each * counts[:, self.at]).sum(-1)
            return total

        def forward(self, x: torch.Tensor, counts: torch.Tensor, given: torch.Tensor, beta: float) -> torch.Tensor:
            """The negative bound with a weighted KL term, mean over the rows."""
            mean, log_var = self.encode(x, given)
            z = mean + torch.randn_like(mean) * (0.5 * log_var).exp()
            out = self.decoder(torch.cat([z, given], 1))
            kl = 0.5 * (mean**2 + log_var.exp() - 1.0 - log_var).sum(1)
            return (beta * kl - self.log_p(x, counts, out)).mean()

        def bound(
            self, x: torch.Tensor, counts: torch.Tensor, given: torch.Tensor, k: int, generator: torch.Generator
        ) -> torch.Tensor:
            """A lower bound on log p of every row, from k codes each; (B,)."""
            mean, log_var = self.encode(x, given)
            noise = torch.randn((k, *mean.shape), generator=generator, device=mean.device)
            z = mean + noise * (0.5 * log_var).exp()
            out = self.decoder(torch.cat([z, given.expand(k, *given.shape)], 2))
            prior = -0.5 * (z**2).sum(-1)
            posterior = -0.5 * (noise**2 + log_var).sum(-1)
            weights = self.log_p(x, counts, out) + prior - posterior  # (k, B); the constants cancel
            return torch.logsumexp(weights, 0) - float(np.log(k))

    return Net()


family = TableVae()
