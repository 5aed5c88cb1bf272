"""Training nets over series on one fold: what is searched of it, the loop, and the predictor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from assay.errors import TrialStopped
from assay.families import Predictor, Split, TrialContext
from assay.model.graph import Graph, Scope
from assay.space import Choice, Float, Int, When
from search_spaces.tabular._answers import Classes, constant_answer

if TYPE_CHECKING:
    import torch

ADAPTIVE = ("adam", "adamw", "rmsprop")
GRADIENT = ("sgd", "momentum", "nesterov", "adagrad")
CHUNK = 256  # series predicted in one pass
CLIP = 1.0  # largest norm of a gradient


@dataclass(frozen=True)
class Training:
    """What is searched of every net.  Two learning rates, because plain gradient steps want larger ones.

    jitter: deviation of the noise added to training series; scaling: deviation of the factor on each of them.
    """

    optimizer: Annotated[str, Choice("sgd", "momentum", "nesterov", "adam", "adamw", "adagrad", "rmsprop")] = "adamw"
    learning_rate: Annotated[float, Float(1e-4, 1e-2, log=True), When("optimizer", *ADAPTIVE)] = 2e-3
    sgd_learning_rate: Annotated[float, Float(3e-3, 0.5, log=True), When("optimizer", *GRADIENT)] = 0.05
    momentum: Annotated[float, Float(0.5, 0.98), When("optimizer", "momentum", "nesterov")] = 0.9
    weight_decay: Annotated[float, Float(1e-5, 0.3, log=True), When("optimizer", "adamw")] = 0.01
    l2: Annotated[float, Float(1e-8, 1e-3, log=True), When("optimizer", "adam", "rmsprop", *GRADIENT)] = 1e-6
    schedule: Annotated[str, Choice("constant", "cosine", "one_cycle", "linear", "exponential", "step")] = "one_cycle"
    loss: Annotated[str, Choice("cross_entropy", "label_smoothing", "kl")] = "cross_entropy"
    smoothing: Annotated[float, Float(0.01, 0.2, log=True), When("loss", "label_smoothing", "kl")] = 0.05
    dropout: Annotated[float, Float(0.0, 0.6)] = 0.2
    jitter: Annotated[float, Float(0.0, 0.3)] = 0.05
    scaling: Annotated[float, Float(0.0, 0.3)] = 0.05
    batch_size: Annotated[int, Choice(16, 32, 64)] = 32
    epochs: Annotated[int, Int(10, 150, log=True)] = 50
    patience: Annotated[int, Int(5, 40)] = 20
    scale: Annotated[str, Choice("rows", "series")] = "rows"
    length: Annotated[str, Choice("hold", "stretch")] = "hold"


@dataclass(frozen=True, eq=False)
class NetPredictor:
    """A trained net: series (n, C, L) -> logits of the classes seen."""

    net: Any
    classes: Classes

    def predict(self, x: np.ndarray) -> np.ndarray:
        from scipy.special import softmax

        return self.classes.spread(np.asarray(softmax(_logits(self.net, np.asarray(x), "cpu"), axis=1)))

    def to_onnx(self, x: str) -> Graph:
        scope = Scope()
        z = self.net.emit(scope, x)
        return scope.graph(self.classes.add_spread(scope, scope.add("Softmax", z, axis=1)))


def fit_net(
    config: Training, data: Split, ctx: TrialContext, make: Callable[[int, int, int], torch.nn.Module]
) -> Predictor:
    """Train on one fold and answer with the best epoch.  make: (channels, steps, outputs) -> net.  Raises Diverged."""
    import torch

    from assay.training.loop import LoopPlan, fit_module
    from assay.training.losses import Loss, class_loss
    from assay.training.optim import Rule

    constant = constant_answer(data)
    if constant is not None:
        return constant
    if ctx.seconds_left() <= 0:
        raise TrialStopped
    classes = Classes.of(data)
    y = torch.as_tensor(classes.codes(data.y))
    weight = np.ones(len(data.y)) if data.weight is None else data.weight / data.weight.mean()
    shares = np.bincount(classes.codes(data.y), weight, classes.n_seen)[None] / weight.sum()
    losses: Any = class_loss([Loss(config.loss, smoothing=config.smoothing)], shares, ctx.device, torch.float32)
    x, weights = torch.from_numpy(data.x), torch.as_tensor(weight, dtype=torch.float32)
    batch = max(4, min(config.batch_size, len(y) // 4))
    n_batches = max(1, len(y) // batch)  # the few rows left over are in another epoch's

    def batches(epoch: int) -> Iterator[tuple[Any, Any]]:
        rng = np.random.default_rng([ctx.seed, epoch])
        order = rng.permutation(len(y))
        for i in range(n_batches):
            rows = torch.from_numpy(order[i * batch : (i + 1) * batch])
            noise = torch.from_numpy(rng.standard_normal((len(rows), *x.shape[1:]), dtype=np.float32))
            factor = torch.from_numpy(rng.standard_normal((len(rows), x.shape[1], 1), dtype=np.float32))
            changed = x[rows] * (1 + config.scaling * factor) + config.jitter * noise
            yield changed.to(ctx.device), (y[rows].to(ctx.device), weights[rows].to(ctx.device))

    def loss(net: torch.nn.Module, given: tuple[Any, Any]) -> torch.Tensor:
        codes, w = given[1]
        rows: torch.Tensor = losses.rows(net(given[0])[None, :, None], codes[None])[0]
        mean: torch.Tensor = (rows * w).mean()
        return mean

    judged = classes.known(data.y_valid)
    y_valid = classes.codes(data.y_valid[judged])
    weight_valid = None if data.weight_valid is None else data.weight_valid[judged]

    def score(net: torch.nn.Module) -> float:
        return _score(_logits(net, data.x_valid[judged], ctx.device), y_valid, weight_valid)

    rate = config.learning_rate if config.optimizer in ADAPTIVE else config.sgd_learning_rate
    decay = config.weight_decay if config.optimizer == "adamw" else config.l2
    momentum = config.momentum if config.optimizer in ("momentum", "nesterov") else 0.0
    rule = Rule(config.optimizer, rate, momentum=momentum, weight_decay=decay)
    torch.manual_seed(ctx.seed)
    torch.set_num_threads(ctx.threads)
    net = make(x.shape[1], x.shape[2], classes.n_seen)
    plan = LoopPlan(rule, config.epochs, config.schedule, config.patience, CLIP)
    fit_module(net, batches, loss, score, n_batches, plan, ctx)
    return NetPredictor(net.to("cpu").eval(), classes)


def patch_of(n_steps: int, wanted: int) -> int:
    """Steps of a patch: as wanted, less where a series would have fewer than four of them."""
    return max(1, min(wanted, n_steps // 4))


def _logits(net: torch.nn.Module, x: np.ndarray, device: str) -> np.ndarray:
    import torch

    with torch.no_grad():
        parts = [
            net(torch.from_numpy(np.ascontiguousarray(x[i : i + CHUNK])).to(device)).cpu().numpy()
            for i in range(0, max(1, len(x)), CHUNK)
        ]
    return np.asarray(np.concatenate(parts), np.float64)


def _score(z: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> float:
    """Minus the log-loss, cut so that one sure mistake does not decide."""
    if not len(z):
        return 0.0
    top = z.max(1)
    log_p = z[np.arange(len(z)), y] - top - np.log(np.exp(z - top[:, None]).sum(1))
    return float(np.average(np.where(np.isnan(log_p), log_p, np.maximum(log_p, -16.0)), weights=weight))
