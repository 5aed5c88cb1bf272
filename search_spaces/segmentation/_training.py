"""What is searched of every segmenter, and how one is trained on one fold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from assay.families import Predictor, Split, TrialContext
from assay.space import Float
from search_spaces.detection._training import Schooling, rule_of, shrink_of

if TYPE_CHECKING:
    from assay.nn.segmentation import Segmenter


@dataclass(frozen=True)
class Segmenting(Schooling):
    """dice: its weight beside the cross-entropy.  balance: how far rare classes weigh more, 1 for inversely to their share.
    side_weight: of an auxiliary head."""

    dice: Annotated[float, Float(0.0, 2.0)] = 0.7
    balance: Annotated[float, Float(0.0, 0.8)] = 0.25
    smoothing: Annotated[float, Float(0.0, 0.1)] = 0.0
    dropout: Annotated[float, Float(0.0, 0.5)] = 0.1
    side_weight: Annotated[float, Float(0.0, 0.6)] = 0.3


def fit_segmenter(
    config: Segmenting, data: Split, ctx: TrialContext, make: Callable[[int, int], Segmenter]
) -> Predictor:
    """make(classes, shrink) -> net."""
    import torch

    from assay.metrics import METRICS
    from assay.vision.augment import Moves, moved_masks
    from assay.vision.evaluate import CHUNK
    from assay.vision.losses import mask_loss
    from assay.vision.training import MapsPredictor, Plan, answers_of, channels_first, train

    torch.set_num_threads(ctx.threads)
    torch.manual_seed(ctx.seed)
    side, classes = data.x.shape[1], data.target.n_classes
    shrink = shrink_of(config, side)
    x = channels_first(data.x, shrink)
    y = torch.from_numpy(np.ascontiguousarray(data.y[:, shrink // 2 :: shrink, shrink // 2 :: shrink]))
    net = make(classes, shrink)
    weight = _weights(data.y, classes, config.balance)
    moves = Moves(config.flip, config.zoom, config.colour)
    metric = METRICS[data.target.metric or "mean_iou"]

    def loss(pictures: Any, truth: Any) -> Any:
        own, *others = net.told(pictures)
        value = mask_loss(own, truth, weight, config.dice, config.smoothing)
        for other in others:
            value = value + config.side_weight * mask_loss(other, truth, weight, 0.0, 0.0)
        return value

    def score(module: Any) -> float:
        found: list[np.ndarray] = []
        for i in range(0, len(data.x_valid), CHUNK):
            answer = answers_of(module, data.x_valid[i : i + CHUNK]).reshape(-1, classes, side, side)
            found += list(answer.argmax(1).astype(np.uint8))
        value = metric.score(list(data.y_valid), found)
        return value if np.isfinite(value) else 0.0

    net.across = side
    course = train(
        net, len(x), lambda rows, rng: moved_masks(x, y, rows, moves, rng), loss, score,
        Plan(rule_of(config), config.schedule, config.epochs, config.batch_size), ctx, len(data.x_valid),
    )  # fmt: skip
    return MapsPredictor(net, course, config.flip > 0 and course.spares(ctx.seconds_left()))


def _weights(y: np.ndarray, classes: int, balance: float) -> Any:
    """Of classes in the loss: (share)^-balance, with mean 1 over the pixels."""
    import torch

    counts = np.bincount(y.ravel(), minlength=256)[:classes].astype(np.float64)
    shares = np.maximum(counts / max(1.0, counts.sum()), 1e-4)
    weight = shares**-balance
    return torch.from_numpy((weight / (weight * shares).sum()).astype(np.float32))
