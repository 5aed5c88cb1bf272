"""What is searched of every net on several targets, and how that becomes a plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Float, Int, When

if TYPE_CHECKING:
    from assay.multitask.targets import OneTarget
    from assay.multitask.teach import Losses
    from assay.nn.net import Net
    from assay.training.loop import LoopPlan

ADAPTIVE = ("adam", "adamw", "rmsprop")
GRADIENT = ("sgd", "momentum", "nesterov", "adagrad")
CLIP = 5.0  # largest norm of a gradient
TASK = "multitask"
TOLD = 4  # outputs that costs are reckoned with; a shape does not know how many there will be


@dataclass(frozen=True)
class Training:
    """Two learning rates, because plain gradient steps want a hundred times what adaptive ones want."""

    optimizer: Annotated[str, Choice("sgd", "momentum", "nesterov", "adam", "adamw", "adagrad", "rmsprop")] = "adamw"
    learning_rate: Annotated[float, Float(2e-4, 3e-2, log=True), When("optimizer", *ADAPTIVE)] = 4e-3
    sgd_learning_rate: Annotated[float, Float(3e-3, 0.5, log=True), When("optimizer", *GRADIENT)] = 0.05
    momentum: Annotated[float, Float(0.5, 0.98), When("optimizer", "momentum", "nesterov")] = 0.9
    weight_decay: Annotated[float, Float(1e-4, 1.0, log=True), When("optimizer", "adamw")] = 0.1
    l2: Annotated[float, Float(1e-7, 1e-2, log=True), When("optimizer", "adam", "rmsprop", *GRADIENT)] = 1e-5
    schedule: Annotated[str, Choice("constant", "cosine", "one_cycle", "linear", "exponential", "step", "coslog4")] = (
        "one_cycle"
    )
    classification_loss: Annotated[str, Choice("cross_entropy", "label_smoothing", "kl")] = "cross_entropy"
    smoothing: Annotated[float, Float(0.01, 0.2, log=True), When("classification_loss", "label_smoothing", "kl")] = 0.05
    regression_loss: Annotated[str, Choice("mse", "huber")] = "mse"
    delta: Annotated[float, Float(0.1, 3.0, log=True), When("regression_loss", "huber")] = 1.0
    weighing: Annotated[str, Choice("equal", "uncertainty")] = "equal"
    dropout: Annotated[float, Float(0.0, 0.5)] = 0.2
    batch_size: Annotated[int, Choice(64, 128, 256)] = 128
    epochs: Annotated[int, Int(10, 120, log=True)] = 40
    patience: Annotated[int, Int(5, 40)] = 15


def losses_of(config: Training) -> Losses:
    from assay.multitask.teach import Losses
    from assay.training.losses import Loss

    smoothing = 0.0 if config.classification_loss == "cross_entropy" else config.smoothing
    return Losses(
        Loss(config.classification_loss, smoothing), Loss(config.regression_loss, delta=config.delta), config.weighing
    )


def loop_of(config: Training) -> LoopPlan:
    from assay.training.loop import LoopPlan
    from assay.training.optim import Rule

    rate = config.learning_rate if config.optimizer in ADAPTIVE else config.sgd_learning_rate
    decay = config.weight_decay if config.optimizer == "adamw" else config.l2
    momentum = config.momentum if config.optimizer in ("momentum", "nesterov") else 0.0
    rule = Rule(config.optimizer, rate, momentum=momentum, weight_decay=decay)
    return LoopPlan(rule, config.epochs, config.schedule, config.patience, CLIP)


def fit_net(
    config: Training, data: Split, ctx: TrialContext, net: Callable[[int, tuple[OneTarget, ...]], Net]
) -> Predictor:
    """Train on one fold and answer with the best epoch.  net: by columns and targets."""
    from assay.multitask.nets import MultiPlan, fit_multi

    return fit_multi(MultiPlan(net, losses_of(config), loop_of(config), config.batch_size, config.dropout), data, ctx)


def cost_of(net: Net, config: Training, shape: Shape, nodes: float = 1.0) -> Cost:
    """One fold on one core.  nodes: how many times the steps of a plain net a step takes beside its products.

    Measured on a busy shared core with three targets and 240 rows of 12 columns: 4.5 ms a step for the plain net; 20
    GFLOP/s as for other nets.
    """
    from assay.training.feed import batch_size
    from assay.training.memory import PROCESS_BYTES, member_bytes, table_bytes

    n_params, batch = net.layout.size, batch_size(config.batch_size, shape.n_rows)
    steps = config.epochs * (shape.n_rows / batch + 0.5)
    seconds = 0.05 + steps * (4.5e-3 * nodes + 6.0 * batch * n_params / 2e10 + n_params * 1e-8)
    host = member_bytes(n_params, batch, net.activations_per_row) + table_bytes(shape.n_rows, shape.n_features)
    return Cost(seconds, host + PROCESS_BYTES, host)
