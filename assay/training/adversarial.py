"""Two networks against each other: steps of the critic and of the maker alternate, and the best epoch is kept.

Losses: "bce", the non-saturating game (Goodfellow et al., NeurIPS 2014); "hinge" (Lim, Ye, 2017); "wasserstein" with a
gradient penalty (Gulrajani et al., NeurIPS 2017).  The first two may hold the critic's slopes at real samples small
(R1: Mescheder, Geiger, Nowozin, "Which Training Methods for GANs do actually Converge?", ICML 2018), in every few steps
only (Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020).  What is kept and judged is the maker with its weights averaged over
the last steps (Yazici et al., "The Unusual Effectiveness of Averaging in GAN Training", ICLR 2019).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from assay.errors import Diverged, TrialStopped
from assay.families import TrialContext
from assay.training.loop import Fitted
from assay.training.optim import Rule, torch_optimizer
from assay.training.schedules import factors

LOSSES = ("bce", "hinge", "wasserstein")
COLLAPSED = 0.05  # of the data's spread: samples that vary less are all the same
GRACE = 5  # epochs before a collapse is looked for
LAZY = 8  # critic steps from one with R1 to the next, which counts as often
IN_A_ROW = 3  # epochs it must last
SETTLED = 8  # batches that the averaged maker's statistics are taken over
WARM = 2  # the epoch that tells what one takes: the first is slower
IN_TIME = 0.85  # of the time there is, for epochs; the rest for looking at them

Make = Callable[[nn.Module, Tensor], Tensor]  # maker, condition (n, g) -> samples, noise drawn inside


@dataclass(frozen=True)
class Game:
    """penalty: weight of the gradient penalty (0: none).  flat: weight of R1 (0: none).  critic_steps: for every step of the maker.  average: decay of
    the averaged weights.  patience: epochs without a better score.  fitted: only as many epochs as there is time for are
    planned, so that the schedule comes to its end."""

    loss: str
    maker: Rule
    critic: Rule
    epochs: int
    steps_per_epoch: int
    schedule: str = "constant"
    penalty: float = 0.0
    critic_steps: int = 1
    average: float = 0.98
    patience: int = 1 << 30
    fitted: bool = False
    flat: float = 0.0


def play(
    maker: nn.Module,
    critic: nn.Module,
    batch: Callable[[int], tuple[Tensor, Tensor]],
    make: Make,
    score: Callable[[nn.Module], float],
    game: Game,
    ctx: TrialContext,
) -> Fitted:
    """Train both in place; the maker ends in evaluation mode with the averaged weights of its best epoch.

    batch(step): real samples and their conditions (n, g).  critic(samples, conditions) -> (n,).  score: of a maker in
    evaluation mode, higher is better.  Raises Diverged when a loss is not finite or the samples collapse.
    """
    # a critic that is sure has squared gradients below the smallest normal float: such steps take ten times as long
    torch.set_flush_denormal(True)
    try:
        return _play(maker, critic, batch, make, score, game, ctx)
    finally:
        torch.set_flush_denormal(False)


def _play(
    maker: nn.Module,
    critic: nn.Module,
    batch: Callable[[int], tuple[Tensor, Tensor]],
    make: Make,
    score: Callable[[nn.Module], float],
    game: Game,
    ctx: TrialContext,
) -> Fitted:
    torch.set_num_threads(ctx.threads)
    torch.manual_seed(ctx.seed)
    maker.to(ctx.device)
    critic.to(ctx.device)
    averaged = copy.deepcopy(maker).eval()
    movers = [(torch_optimizer(r, m.parameters()), r) for m, r in ((critic, game.critic), (maker, game.maker))]
    epochs = max(1, min(game.epochs, ctx.max_steps))
    best, best_score, best_epoch, flat = copy.deepcopy(averaged.state_dict()), -math.inf, 0, 0
    epoch = drawn = 0
    while epoch < epochs and epoch - best_epoch < game.patience:
        began = time.monotonic()
        for step in range(game.steps_per_epoch):
            share = np.array(min(1.0, (epoch + step / game.steps_per_epoch) / epochs))
            for optimizer, rule in movers:
                for group in optimizer.param_groups:
                    group["lr"] = rule.learning_rate * float(factors(game.schedule, share))
            for _ in range(game.critic_steps):
                real, given = batch(drawn)
                drawn += 1
                with torch.no_grad():
                    fake = make(maker, given)
                _step(_critic_loss(critic, real, fake, given, game, drawn), movers[0][0], game, epoch + 1)
            _, given = batch(drawn)
            for p in critic.parameters():
                p.requires_grad_(False)
            _step(_maker_loss(critic(make(maker, given), given), game), movers[1][0], game, epoch + 1)
            for p in critic.parameters():
                p.requires_grad_(True)
            _average(averaged, maker, min(game.average, 1 - 1 / (2 + epoch * game.steps_per_epoch + step)))
            if ctx.seconds_left() <= 0:
                break
        epoch += 1
        if game.fitted and epoch == WARM and ctx.seconds_left() < math.inf:
            epochs = min(epochs, epoch + max(1, int(IN_TIME * ctx.seconds_left() / (time.monotonic() - began))))
        with torch.no_grad():
            real, given = batch(drawn)
            _settle(averaged, make, given)
            value = float(score(averaged))
            spread = float(make(averaged, given).std(0).mean()) / max(1e-9, float(real.std(0).mean()))
        if not math.isfinite(value) or not math.isfinite(spread):
            raise _diverged(game, epoch)
        flat = flat + 1 if spread < COLLAPSED and epoch > GRACE else 0
        if flat >= IN_A_ROW:
            raise Diverged(
                f"the generator collapsed in epoch {epoch}: its samples vary {100 * spread:.1f} % as much as the data; "
                f"loss {game.loss!r}, learning rates {game.maker.learning_rate:.3g} and {game.critic.learning_rate:.3g}"
            )
        if value > best_score:
            best, best_score, best_epoch = copy.deepcopy(averaged.state_dict()), value, epoch
        try:
            ctx.report(epoch, value)
        except TrialStopped:
            break
        if ctx.seconds_left() < 1.5 * (time.monotonic() - began):
            break
    maker.load_state_dict(best)
    maker.eval()
    return Fitted(best_score, best_epoch, epoch)


def _critic_loss(critic: nn.Module, real: Tensor, fake: Tensor, given: Tensor, game: Game, step: int) -> Tensor:
    a, b = critic(real, given), critic(fake, given)
    if game.loss == "bce":
        value = F.softplus(-a).mean() + F.softplus(b).mean()
    elif game.loss == "hinge":
        value = F.relu(1 - a).mean() + F.relu(1 + b).mean()
    else:
        value = b.mean() - a.mean()
    if game.penalty > 0:
        shape = (len(real), *[1] * (real.ndim - 1))
        mixed = torch.lerp(fake, real, torch.rand(shape, device=real.device)).requires_grad_(True)
        (slope,) = torch.autograd.grad(critic(mixed, given).sum(), mixed, create_graph=True)
        value = value + game.penalty * ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
    if game.flat > 0 and step % LAZY == 0:
        there = real.clone().requires_grad_(True)
        (slope,) = torch.autograd.grad(critic(there, given).sum(), there, create_graph=True)
        value = value + 0.5 * LAZY * game.flat * (slope.flatten(1) ** 2).sum(1).mean()
    return value


def _maker_loss(judged: Tensor, game: Game) -> Tensor:
    return F.softplus(-judged).mean() if game.loss == "bce" else -judged.mean()


def _step(value: Tensor, optimizer: torch.optim.Optimizer, game: Game, epoch: int) -> None:
    if not bool(torch.isfinite(value.detach())):
        raise _diverged(game, epoch)
    optimizer.zero_grad(set_to_none=True)
    value.backward()
    optimizer.step()


@torch.no_grad()
def _average(averaged: nn.Module, maker: nn.Module, decay: float) -> None:
    for a, p in zip(averaged.parameters(), maker.parameters(), strict=True):
        a.lerp_(p, 1 - decay)


def _settle(averaged: nn.Module, make: Make, given: Tensor) -> None:
    """Batch normalisation learns the statistics of the averaged weights: those of the maker are of other ones."""
    norms = [m for m in averaged.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    for _ in range(SETTLED):
        make(averaged, given)
    for norm in norms:
        norm.eval()


def _diverged(game: Game, epoch: int) -> Diverged:
    return Diverged(
        f"the game became NaN or infinite in epoch {epoch} with loss {game.loss!r}, optimizer {game.maker.name!r} and "
        f"learning rates {game.maker.learning_rate:.3g} and {game.critic.learning_rate:.3g}; smaller ones are the usual cure"
    )
