"""One training loop for any torch module: batches in, best epoch out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from assay.errors import Diverged, TrialStopped
from assay.families import TrialContext
from assay.training.optim import Rule, torch_optimizer
from assay.training.schedules import factors

Batch = tuple[Any, Any]  # inputs and targets, in whatever form `loss` takes them


@dataclass(frozen=True)
class LoopPlan:
    """epochs: at most; patience: epochs without a better score; clip: largest gradient norm over all parameters."""

    rule: Rule
    epochs: int
    schedule: str = "constant"
    patience: int = 1 << 30
    clip: float = math.inf


@dataclass(frozen=True)
class Fitted:
    """score: of the best epoch (1-based), whose parameters the module holds now; epochs: how many were trained."""

    score: float
    epoch: int
    epochs: int


def fit_module(
    module: nn.Module,
    batches: Callable[[int], Iterable[Batch]],
    loss: Callable[[nn.Module, Batch], Tensor],
    score: Callable[[nn.Module], float],
    steps_per_epoch: int,
    plan: LoopPlan,
    ctx: TrialContext,
) -> Fitted:
    """Train the module in place and leave it in evaluation mode with the parameters of its best epoch.

    batches(epoch): the batches of an epoch (0-based), steps_per_epoch of them, already on the device.  loss: scalar to
    lower.  score: validation score, higher is better, called in evaluation mode without gradients.  Seeds torch from
    ctx.seed, reports every epoch and ends in time.  Raises Diverged when loss or score is not finite; TrialStopped ends
    training with the best epoch.
    """
    torch.set_num_threads(ctx.threads)
    torch.manual_seed(ctx.seed)
    module.to(ctx.device)
    trainable = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch_optimizer(plan.rule, trainable)
    epochs = max(1, min(plan.epochs, ctx.max_steps))
    best, best_score, best_epoch, epoch = _snapshot(module), -math.inf, 0, 0
    while epoch < epochs and epoch - best_epoch < plan.patience:
        began = time.monotonic()
        module.train()
        for step, batch in enumerate(batches(epoch)):
            progress = np.array(min(1.0, (epoch + step / steps_per_epoch) / epochs))
            for group in optimizer.param_groups:
                group["lr"] = plan.rule.learning_rate * float(factors(plan.schedule, progress))
            _step(loss(module, batch), optimizer, trainable, plan, epoch + 1)
            if ctx.seconds_left() <= 0.0:
                break
        epoch += 1
        value = _score(module, score)
        if not math.isfinite(value):
            raise _diverged(plan, epoch)
        if value > best_score:
            best, best_score, best_epoch = _snapshot(module), value, epoch
        try:
            ctx.report(epoch, value)
        except TrialStopped:
            break
        if ctx.seconds_left() < 1.5 * (time.monotonic() - began):
            break
    module.load_state_dict(best)
    module.eval()
    return Fitted(best_score, best_epoch, epoch)


def _step(
    value: Tensor, optimizer: torch.optim.Optimizer, trainable: list[nn.Parameter], plan: LoopPlan, epoch: int
) -> None:
    if not bool(torch.isfinite(value.detach())):
        raise _diverged(plan, epoch)
    optimizer.zero_grad(set_to_none=True)
    value.backward()
    if plan.clip < math.inf:
        nn.utils.clip_grad_norm_(trainable, plan.clip)
    optimizer.step()


def _score(module: nn.Module, score: Callable[[nn.Module], float]) -> float:
    module.eval()
    with torch.no_grad():
        return float(score(module))


def _snapshot(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def _diverged(plan: LoopPlan, epoch: int) -> Diverged:
    return Diverged(
        f"training became NaN or infinite in epoch {epoch} with optimizer {plan.rule.name!r} and learning rate "
        f"{plan.rule.learning_rate:.3g}; a smaller learning rate is the usual cure"
    )
