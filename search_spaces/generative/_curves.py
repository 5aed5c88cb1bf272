"""A value of a picture as a mixture of logistic curves around what its surroundings say in a straight line.

Salimans, Karpathy, Chen, Kingma, "PixelCNN++", ICLR 2017: shares of 256 values that need few numbers, and know that 100 is
near 101.  Changed: every channel has its own mixture, whose means start from a linear regression on the values before it,
the earlier channels of the same place among them, and on what the auxiliary variable shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from assay.generation.parts import pick_logits
from assay.model.graph import Scope

if TYPE_CHECKING:
    from torch import Tensor

CURVES = 4  # of a mixture
HALF = 1 / 255  # of the width of a value, which lie in -1..1
LEAST = -7.0  # log of the least scale
TINY = 1e-5  # share beyond which nothing is drawn
SAMPLED = 24_000  # values of each channel that the regression learns from
RIDGE = 1e-4


def as_seen(codes: Any, n_levels: int) -> Any:
    """Codes as a network sees them, -1..1."""
    return codes * (2.0 / max(1, n_levels - 1)) - 1.0


def begin_curves(last: Any) -> None:
    """The layer that answers with mixtures, before training: curves of several widths around the straight line."""
    import torch

    with torch.no_grad():
        last.weight.mul_(0.2)
        bias = np.zeros((len(last.bias) // (3 * CURVES), 3, CURVES))
        bias[:, 2] = np.linspace(-2.0, 0.5, CURVES)
        last.bias.copy_(torch.from_numpy(bias.reshape(-1)))


def curve_nats(found: Tensor, values: Tensor) -> Tensor:
    """Mean nats of values (n,) in -1..1 under mixtures (n, 3 * CURVES): logits, means, logs of scales."""
    import torch
    from torch.nn import functional as F

    logits, mean, scale = found.split(CURVES, 1)
    scale = scale.clamp_min(LEAST)
    x = values[:, None]
    above, below = ((x - mean + s * HALF) * torch.exp(-scale) for s in (1, -1))
    inside = torch.log((torch.sigmoid(above) - torch.sigmoid(below)).clamp_min(1e-9))
    first, last = above - F.softplus(above), -F.softplus(below)  # all there is below, or above
    log_p = torch.where(x < -0.999, first, torch.where(x > 0.999, last, inside))
    return -torch.logsumexp(torch.log_softmax(logits, 1) + log_p, 1).mean()


def emit_curve(scope: Scope, found: str, which: str, u: str, calm: float = 1.0) -> str:
    """int64 [N] in 0..255, drawn from mixtures [N, 3 * CURVES] with two uniform numbers [N, 1].  calm: factor of scales."""
    logits, mean, scale = scope.add_many("Split", found, outputs=3, axis=1, num_outputs=3)
    curve = scope.add("Unsqueeze", pick_logits(scope, logits, which), scope.const([1]))
    mean = scope.add("GatherElements", mean, curve, axis=1)
    scale = scope.add(
        "Exp", scope.add("Max", scope.add("GatherElements", scale, curve, axis=1), scope.const(np.float32(LEAST)))
    )
    u = scope.add("Clip", u, scope.const(np.float32(TINY)), scope.const(np.float32(1 - TINY)))
    odds = scope.add("Sub", scope.add("Log", u), scope.add("Log", scope.add("Sub", scope.const(np.float32(1)), u)))
    odds = scope.add("Mul", odds, scope.const(np.float32(calm)))
    value = scope.add("Add", mean, scope.add("Mul", scale, odds))
    value = scope.add("Mul", scope.add("Add", value, scope.const(np.float32(1))), scope.const(np.float32(127.5)))
    value = scope.add("Clip", scope.add("Round", value), scope.const(np.float32(0)), scope.const(np.float32(255)))
    return scope.add("Squeeze", scope.add("Cast", value, to=7), scope.const([1]))


def straight(windows: np.ndarray, known: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The regression of each channel: weights (C, d + 1), the level last, and deviations (C,) of what it leaves over.

    windows: (n, d); known: bool (C, d), what may be looked at; values: (n, C).
    """
    n, channels = values.shape
    weights, left = np.zeros((channels, windows.shape[1] + 1)), np.zeros(channels)
    mean = windows.mean(0)
    centred = windows - mean
    for c in range(channels):
        x, y = centred[:, known[c]], values[:, c] - values[:, c].mean()
        slope = np.linalg.solve(x.T @ x + RIDGE * n * np.eye(x.shape[1]), x.T @ y)
        weights[c, :-1][known[c]] = slope
        weights[c, -1] = values[:, c].mean() - mean[known[c]] @ slope
        left[c] = max(0.005, float((y - x @ slope).std()))
    return weights, left
