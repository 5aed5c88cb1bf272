"""Training a net over windows of all histories: what is searched of it, the loop, and the predictor.

There is no early stopping: the newest windows say most about what comes next, and to set them aside costs more than it
tells.  The rate falls to nothing by the end of the steps or of the time, and the delivered weights are a running mean.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from assay.errors import Diverged, FamilyUnavailable, TrialStopped
from assay.families import Predictor, TrialContext
from assay.forecasting.problem import Past
from assay.model.graph import Graph, Scope
from assay.space import Choice, Float, Int, When
from search_spaces.forecasting._windows import Frame, cut, fitting_width

if TYPE_CHECKING:
    from assay.nn.forecasters import WindowNet

ADAPTIVE = ("adam", "adamw", "rmsprop")
GRADIENT = ("sgd", "momentum", "nesterov", "adagrad")
UPDATES = 20  # of a round
LEAST_VALUES = 80  # of all series, besides six horizons, below which nets are not tried unless asked for
LEAST_WINDOWS = 12  # fewer teach a net nothing
CLIP = 1.0  # largest norm of a gradient
MEMORY = 0.98  # of the running mean of the weights
FAR = 8.0  # deviations of a target beyond which its error counts no more
CHUNK = 512  # windows predicted in one pass


@dataclass(frozen=True)
class Training:
    """What is searched of every net.  Two learning rates, because plain gradient steps want larger ones.

    rounds: of 20 updates.  seasons: of the window, in seasons (of 12 values where there is none).  jitter: deviation of
    the noise added to training windows, in units of their scale.
    """

    optimizer: Annotated[str, Choice("sgd", "momentum", "nesterov", "adam", "adamw", "adagrad", "rmsprop")] = "adamw"
    learning_rate: Annotated[float, Float(1e-4, 1e-2, log=True), When("optimizer", *ADAPTIVE)] = 2e-3
    sgd_learning_rate: Annotated[float, Float(3e-3, 0.5, log=True), When("optimizer", *GRADIENT)] = 0.05
    momentum: Annotated[float, Float(0.5, 0.98), When("optimizer", "momentum", "nesterov")] = 0.9
    weight_decay: Annotated[float, Float(1e-5, 0.3, log=True), When("optimizer", "adamw")] = 0.02
    l2: Annotated[float, Float(1e-8, 1e-3, log=True), When("optimizer", "adam", "rmsprop", *GRADIENT)] = 1e-6
    schedule: Annotated[str, Choice("constant", "cosine", "one_cycle", "linear", "exponential", "step")] = "one_cycle"
    loss: Annotated[str, Choice("l1", "huber", "l2")] = "l1"
    rounds: Annotated[int, Int(5, 100, log=True)] = 20
    batch_size: Annotated[int, Choice(16, 32, 64, 128)] = 64
    seasons: Annotated[float, Float(1.0, 6.0)] = 2.5
    level: Annotated[str, Choice("last", "mean", "season")] = "season"
    dropout: Annotated[float, Float(0.0, 0.5)] = 0.1
    jitter: Annotated[float, Float(0.0, 0.3)] = 0.05


@dataclass(frozen=True, eq=False)
class NetWindows:
    """A trained net over scaled windows.  whole: columns of x, the code of the series among them."""

    frame: Frame
    net: Any
    whole: int

    def predict(self, x: np.ndarray) -> np.ndarray:
        import torch

        values = self.frame.last(x)
        z = np.ascontiguousarray(self.frame.inputs(values), np.float32)
        with torch.no_grad():
            parts = [self.net(torch.from_numpy(z[i : i + CHUNK])).numpy() for i in range(0, max(1, len(z)), CHUNK)]
        return self.frame.undo(values, np.concatenate(parts).astype(np.float64))

    def to_onnx(self, x: str) -> Graph:
        scope = Scope()
        inputs, level, scale = self.frame.emit(scope, x, self.whole)
        return scope.graph(scope.add("Add", scope.add("Mul", self.net.emit(scope, inputs), scale), level))


def frame_of(config: Training, data: Past) -> Frame:
    """The part of the window a net reads, and its level."""
    unit = data.season if data.season > 1 else 12
    width = fitting_width(data, max(unit + 1, round(config.seasons * unit)))
    has_season = 1 < data.season < width
    level = config.level if has_season or config.level != "season" else "last"
    return Frame(width, data.season if has_season else 1, data.horizon, level)


def fit_windows(config: Training, data: Past, ctx: TrialContext, make: Callable[[Frame], WindowNet]) -> Predictor:
    """Train on all windows of the histories.  Raises Diverged, FamilyUnavailable where there are few windows."""
    import torch

    frame = frame_of(config, data)
    x, y = cut(data, frame.width, ctx.rng)
    if len(x) < LEAST_WINDOWS:
        raise FamilyUnavailable(f"{len(x)} windows are too few for a net; at least {LEAST_WINDOWS} are needed")
    inputs = torch.from_numpy(frame.inputs(x).astype(np.float32))
    targets = torch.from_numpy(np.clip(frame.targets(x, y), -1e4, 1e4).astype(np.float32))
    if ctx.seconds_left() <= 0:
        raise TrialStopped
    torch.set_num_threads(ctx.threads)
    torch.manual_seed(ctx.seed)
    net = make(frame).to(ctx.device)
    judge = _judge(frame, data)
    _train(net, inputs.to(ctx.device), targets.to(ctx.device), config, ctx, judge)
    return NetWindows(frame, net.to("cpu").eval(), data.x.shape[1])


def _judge(frame: Frame, data: Past) -> Callable[[Any], float]:
    """Minus the mean absolute error in units of each window's scale, on what the fold judges; for reports only."""
    if not len(data.x_valid):
        return lambda net: 0.0
    import torch

    values = frame.last(data.x_valid)[:CHUNK]
    x = torch.from_numpy(frame.inputs(values).astype(np.float32))
    y = torch.from_numpy(frame.targets(values, data.y_valid[:CHUNK]).astype(np.float32))
    return lambda net: -float((net(x.to(next(net.parameters()).device)).cpu() - y).abs().mean())


def _train(net: Any, x: Any, y: Any, config: Training, ctx: TrialContext, judge: Callable[[Any], float]) -> None:
    import torch

    from assay.training.optim import Rule, torch_optimizer
    from assay.training.schedules import factors

    rate = config.learning_rate if config.optimizer in ADAPTIVE else config.sgd_learning_rate
    decay = config.weight_decay if config.optimizer == "adamw" else config.l2
    momentum = config.momentum if config.optimizer in ("momentum", "nesterov") else 0.0
    parameters = list(net.parameters())
    optimizer = torch_optimizer(Rule(config.optimizer, rate, momentum=momentum, weight_decay=decay), parameters)
    rng = np.random.default_rng([ctx.seed, 1])
    rounds = max(1, min(config.rounds, ctx.max_steps))
    began, allowed = time.monotonic(), ctx.seconds_left()
    batch = max(4, min(config.batch_size, len(x) // 2))
    mean, order, at = [p.detach().clone() for p in parameters], rng.permutation(len(x)), 0
    for step in range(rounds * UPDATES):
        spent = (time.monotonic() - began) / allowed if allowed < float("inf") else 0.0
        progress = np.array(min(1.0, max(step / (rounds * UPDATES), spent)))
        for group in optimizer.param_groups:
            group["lr"] = rate * float(factors(config.schedule, progress))
        if at + batch > len(order):
            order, at = rng.permutation(len(x)), 0
        rows = torch.from_numpy(order[at : at + batch]).to(x.device)
        at += batch
        noise = torch.from_numpy(rng.standard_normal((len(rows), x.shape[1]), dtype=np.float32)).to(x.device)
        net.train()
        value = _loss(net(x[rows] + config.jitter * noise), y[rows], config.loss)
        if not bool(torch.isfinite(value.detach())):
            raise Diverged(
                f"training became NaN or infinite after {step} updates; a smaller learning rate is the usual cure"
            )
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        memory = min(MEMORY, step / (step + 10))  # an early mean forgets where it began
        for kept, p in zip(mean, parameters, strict=True):
            kept.lerp_(p.detach(), 1 - memory)
        if (step + 1) % UPDATES == 0:
            net.eval()
            with torch.no_grad():
                told = judge(net)
            try:
                ctx.report((step + 1) // UPDATES, told)
            except TrialStopped:
                break
            if spent >= 0.98:
                break
    with torch.no_grad():
        for kept, p in zip(mean, parameters, strict=True):
            p.copy_(kept)


def _loss(found: Any, wanted: Any, name: str) -> Any:
    """Mean over windows and steps; what lies very far off pulls no harder than FAR."""
    from torch.nn import functional as F

    if name == "l1":
        return (found - wanted).abs().mean()
    if name == "huber":
        return F.smooth_l1_loss(found, wanted)
    return F.smooth_l1_loss(found, wanted, beta=FAR) * FAR
