"""Training a net over maps in the time there is: the schedule follows steps or the clock, whichever is ahead.

So a short budget still ends with a small learning rate, and a longer one trains on.  What is kept is the running mean of
the weights (Polyak, Juditsky: Acceleration of Stochastic Approximation by Averaging. 1992), of the best validation.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from assay.errors import Diverged, TrialStopped
from assay.families import TrialContext
from assay.model.graph import Graph, Scope
from assay.nn.conv2d import TORCH, PictureMaps, ScopeMaps
from assay.training.optim import Rule, torch_optimizer
from assay.training.schedules import factors
from assay.vision.worth import WORTH

SHORT = 100.0  # seconds of a fit at least, where there are more, and
SHARE = 0.4  # of what is left
AFTER, LEAST_AFTER = 3.5, 2.5  # of the time kept for what follows the last step: validations' worth, and seconds
TWICE = 5.0  # validations' worth of time in which every picture can be asked for twice
REPORTS = 12  # validations of one fit, at most
JUDGING = 6.0  # times what a validation takes must be trained between two of them
AVERAGED = 0.99  # weight of the past in the running mean, a step; less in the first steps
CHUNK = 16  # pictures predicted at once
CLIP = 10.0


@dataclass(frozen=True)
class Course:
    """How a training went.  best: the epoch that is kept, 1-based; ran: epochs that were trained; judged: seconds of a
    validation."""

    best: int
    ran: int
    judged: float = 0.0

    def spares(self, seconds: float) -> bool:
        """Whether so many seconds are enough to ask twice for every picture in what follows a training."""
        return seconds > TWICE * self.judged


@dataclass(frozen=True)
class Plan:
    """epochs: at most."""

    rule: Rule
    schedule: str
    epochs: int
    batch: int


def train(
    net: nn.Module,
    n: int,
    batch: Callable[[np.ndarray, np.random.Generator], tuple[Tensor, Any]],
    loss: Callable[[Tensor, Any], Tensor],
    score: Callable[[nn.Module], float],
    plan: Plan,
    ctx: TrialContext,
    judges: int,
) -> Course:
    """Train in place; leaves the net in evaluation mode with its best running mean.

    n: training pictures; judges: validation pictures, of which there may be none: then all the time there is, is used, and
    the last mean is kept.  batch(rows, rng): pictures and targets.  loss(pictures, targets): scalar, of the net in training
    mode.  score(net): validation score, higher is better.  Raises Diverged, or TrialStopped when there is no time at all.
    """
    left = ctx.seconds_left()
    if left <= 0:
        raise TrialStopped
    began = time.monotonic()
    whole = _allotted(left) if judges else left
    rng = np.random.default_rng(ctx.seed)
    epochs = max(1, min(plan.epochs, ctx.max_steps))
    size = max(2, min(plan.batch, n))
    per_epoch = max(1, n // size)
    trainable = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch_optimizer(plan.rule, groups(net, plan.rule.learning_rate))  # type: ignore[arg-type]
    rates = [float(g["lr"]) for g in optimizer.param_groups]
    mean = _Mean(net)
    best_score, best, told, course = -math.inf, mean.state(), 0.0, Course(0, 0)
    judged, quickest = 0.0, math.inf  # seconds of a validation, as far as is known, and of a step

    def done(steps: float) -> float:
        """Share of the training that is over, by epochs or by the clock."""
        allowed = max(0.3 * whole, min(whole, left - AFTER * judged - LEAST_AFTER))
        return max(steps / epochs, (time.monotonic() - began) / allowed)

    for epoch in range(epochs):
        order = rng.permutation(n)
        for i in range(per_epoch):
            progress, started = done(epoch + i / per_epoch), time.monotonic()
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * float(factors(plan.schedule, np.array(min(1.0, progress))))
            rows = np.sort(order[i * size : (i + 1) * size])
            _step(net, loss(*batch(rows, rng)), optimizer, trainable, plan, epoch)
            mean.update(net)
            quickest = min(quickest, time.monotonic() - started)
            if told == 0.0:  # nothing was judged yet: forward alone takes about a third of a step
                judged = 0.4 * judges / size * quickest
            if progress >= 1.0 or ctx.seconds_left() <= 0:
                break
        progress, course = done(epoch + 1), Course(course.best, epoch + 1)
        if not judges:
            if progress >= 1.0:
                break
            continue
        gap = max(1.0 / REPORTS, JUDGING * judged / whole)
        if progress < min(1.0, told + gap) and epoch + 1 < epochs:
            continue
        told, before = progress, time.monotonic()
        value = mean.judged(net, score)
        judged = time.monotonic() - before
        if value >= best_score:
            best_score, best, course = value, mean.state(), Course(epoch + 1, epoch + 1)
        try:
            ctx.report(epoch + 1, value)
        except TrialStopped:
            break
        if done(epoch + 1) >= 1.0:
            break
    if not judges:
        best, course = mean.state(), Course(course.ran, course.ran)
    net.load_state_dict(best)
    net.eval()
    return Course(course.best, course.ran, judged)


def _allotted(left: float) -> float:
    """Seconds of a fit that is judged: all there are, where what it would leave is not worth another one."""
    share = max(SHORT, SHARE * left)
    return left if left < (1.0 + WORTH) * share else share


def groups(net: nn.Module, rate: float) -> list[dict[str, Any]]:
    """Trainable parameters by learning rate: `net.factor_of(name)` times the plan's, where a net has that."""
    factor_of = getattr(net, "factor_of", None)
    found: dict[float, list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            found.setdefault(1.0 if factor_of is None else float(factor_of(name)), []).append(parameter)
    return [{"params": p, "lr": rate * factor} for factor, p in found.items()]


class _Mean:
    """The running mean of a net's weights and of its norms' statistics."""

    def __init__(self, net: nn.Module) -> None:
        self.values = {k: v.detach().clone() for k, v in net.state_dict().items()}
        self.steps = 0

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        self.steps += 1
        keep = min(AVERAGED, (self.steps - 1) / (self.steps + 9))
        now = net.state_dict()
        floats = [k for k, v in self.values.items() if v.is_floating_point()]
        torch._foreach_lerp_([self.values[k] for k in floats], [now[k] for k in floats], 1.0 - keep)

    def state(self) -> dict[str, Tensor]:
        return {k: v.clone() for k, v in self.values.items()}

    def judged(self, net: nn.Module, score: Callable[[nn.Module], float]) -> float:
        own = {k: v.detach().clone() for k, v in net.state_dict().items()}
        net.load_state_dict(self.values)
        net.eval()
        with torch.inference_mode():
            value = score(net)
        net.load_state_dict(own)
        net.train()
        if not math.isfinite(value):
            raise Diverged("the validation score is not a number; a smaller learning rate is the usual cure")
        return value


def _step(
    net: nn.Module,
    value: Tensor,
    optimizer: torch.optim.Optimizer,
    trainable: list[nn.Parameter],
    plan: Plan,
    epoch: int,
) -> None:
    if not bool(torch.isfinite(value.detach())):
        raise Diverged(
            f"training became NaN or infinite in epoch {epoch + 1} with optimizer {plan.rule.name!r} and learning rate "
            f"{plan.rule.learning_rate:.3g}; a smaller learning rate is the usual cure"
        )
    optimizer.zero_grad(set_to_none=True)
    value.backward()
    nn.utils.clip_grad_norm_(trainable, CLIP)
    optimizer.step()


def channels_first(x: np.ndarray, shrink: int) -> Tensor:
    """uint8 (n, side, side, 3) -> uint8 (n, 3, side / shrink, side / shrink), means of squares."""
    parts = []
    for i in range(0, len(x), 64):
        part = torch.from_numpy(np.ascontiguousarray(x[i : i + 64])).permute(0, 3, 1, 2)
        if shrink > 1:
            part = nn.functional.avg_pool2d(part.float(), shrink, shrink).round().to(torch.uint8)
        parts.append(part.contiguous())
    return torch.cat(parts) if parts else torch.zeros((0, 3, 1, 1), dtype=torch.uint8)


@dataclass(frozen=True, eq=False)
class MapsPredictor:
    """A trained net: pictures to its answer, one row each.  mirrored: the mean with what it answers of the mirrored picture."""

    net: PictureMaps
    course: Course
    mirrored: bool = False

    def predict(self, x: np.ndarray) -> np.ndarray:
        """x: uint8 (n, side, side, 3) -> float32 (n, k)."""
        return answers_of(self.net, x, self.mirrored)

    def to_onnx(self, x: str) -> Graph:
        scope = Scope()
        if not self.mirrored:
            return scope.graph(self.net.emit(scope, x))
        ops = ScopeMaps(scope)
        return scope.graph(self.net.both_ways(ops, ops.pixels(x)))


def answers_of(net: PictureMaps, x: np.ndarray, mirrored: bool = False) -> np.ndarray:
    """What a net in evaluation mode answers, float32 (n, k)."""
    net.eval()
    parts = []
    with torch.inference_mode():
        for i in range(0, max(1, len(x)), CHUNK):
            part = torch.from_numpy(np.ascontiguousarray(x[i : i + CHUNK])).permute(0, 3, 1, 2).float()
            parts.append((net.both_ways(TORCH, part) if mirrored else net(part)).numpy())
    return np.concatenate(parts)
