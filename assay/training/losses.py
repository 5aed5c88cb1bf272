"""Training losses by name, one value per row, so that every member of a population can have its own.

Classification losses differ only in the distribution q that the answer is compared with:
q = (1 - s) * onehot(y) + s * base, with base uniform ("label_smoothing": Szegedy et al., Rethinking the Inception
Architecture, 2016) or the class prior ("kl").  "kl" is the Kullback-Leibler divergence from q to the answer, which is
the cross-entropy less the entropy of q: zero for a perfect answer.
Regression losses are one formula too: "mse" is twice the Huber loss with an infinite threshold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

CLASSIFICATION = ("cross_entropy", "label_smoothing", "kl")
REGRESSION = ("mse", "huber")


@dataclass(frozen=True)
class Loss:
    """smoothing: share s of the base distribution (label_smoothing, kl).  delta: where Huber becomes linear."""

    name: str
    smoothing: float = 0.0
    delta: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in CLASSIFICATION + REGRESSION:
            raise ValueError(f"no loss is called {self.name!r}; known: {', '.join(CLASSIFICATION + REGRESSION)}")
        if not 0.0 <= self.smoothing < 1.0 or self.delta <= 0.0:
            raise ValueError(f"smoothing lies in [0, 1) and delta is positive, got {self}")


@dataclass(frozen=True, eq=False)
class ClassLoss:
    """Losses of K members over c classes.  keep: (K, 1, 1) = 1 - s; base: (K, 1, 1, c) = s * base; entropy: (K, c)."""

    keep: Tensor
    base: Tensor
    entropy: Tensor  # of q for every true class; zero unless the member's loss is "kl"
    smooth: bool

    def rows(self, logits: Tensor, y: Tensor) -> Tensor:
        """logits: (K, B, E, c), E answers of one member; y: (K, B) int64 -> (K, B), the mean over the E losses."""
        log_p = torch.log_softmax(logits, dim=-1)
        index = y[:, :, None, None].expand(-1, -1, logits.shape[2], 1)
        value = -log_p.gather(-1, index).squeeze(-1)  # (K, B, E)
        if self.smooth:
            value = self.keep * value - (self.base * log_p).sum(-1)
        rows = value.squeeze(2) if logits.shape[2] == 1 else value.mean(2)
        return rows - self.entropy.gather(1, y) if self.smooth else rows

    def take(self, keep: Tensor) -> ClassLoss:
        return ClassLoss(self.keep[keep], self.base[keep], self.entropy[keep], self.smooth)


@dataclass(frozen=True, eq=False)
class TargetLoss:
    """Losses of K members for one numeric target.  delta, factor: (K, 1, 1)."""

    delta: Tensor
    factor: Tensor

    def rows(self, answer: Tensor, y: Tensor) -> Tensor:
        """answer: (K, B, E, 1); y: (K, B) -> (K, B), the mean over the E losses."""
        error = (answer.squeeze(-1) - y[:, :, None]).abs()
        near = torch.minimum(error, self.delta)
        return (self.factor * near * (error - 0.5 * near)).mean(2)

    def take(self, keep: Tensor) -> TargetLoss:
        return TargetLoss(self.delta[keep], self.factor[keep])


def class_loss(losses: Sequence[Loss], priors: np.ndarray, device: str, dtype: torch.dtype) -> ClassLoss:
    """priors: (K, c) class frequencies of each member's training rows."""
    k, c = priors.shape
    wrong = [loss.name for loss in losses if loss.name not in CLASSIFICATION]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is a loss for numbers; classes need one of {', '.join(CLASSIFICATION)}")
    s = np.array([0.0 if loss.name == "cross_entropy" else loss.smoothing for loss in losses])
    base = np.stack([priors[i] if loss.name == "kl" else np.full(c, 1.0 / c) for i, loss in enumerate(losses)])
    entropy = np.zeros((k, c))
    for i, loss in enumerate(losses):
        if loss.name == "kl":
            q = (1.0 - s[i]) * np.eye(c) + s[i] * base[i]
            entropy[i] = -(q * np.log(np.where(q > 0, q, 1.0))).sum(1)

    def tensor(a: np.ndarray) -> Tensor:
        return torch.as_tensor(a, device=device, dtype=dtype)

    return ClassLoss(
        tensor(1.0 - s).view(k, 1, 1), tensor(s[:, None] * base).view(k, 1, 1, c), tensor(entropy), bool(s.any())
    )


def target_loss(losses: Sequence[Loss], device: str, dtype: torch.dtype) -> TargetLoss:
    wrong = [loss.name for loss in losses if loss.name not in REGRESSION]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is a loss for classes; numbers need one of {', '.join(REGRESSION)}")
    delta = [loss.delta if loss.name == "huber" else math.inf for loss in losses]
    factor = [1.0 if loss.name == "huber" else 2.0 for loss in losses]
    return TargetLoss(
        torch.tensor(delta, device=device, dtype=dtype).view(-1, 1, 1),
        torch.tensor(factor, device=device, dtype=dtype).view(-1, 1, 1),
    )
