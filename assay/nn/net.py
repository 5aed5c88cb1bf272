"""What the population trainer asks of an architecture, and the two layers every one has: affine maps and dropout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from assay.model.graph import Scope
from assay.nn.layout import Arrays, Layout

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Net(Protocol):
    """One architecture for a design matrix of d columns.  It holds no numbers: parameters come in by name."""

    @property
    def layout(self) -> Layout: ...

    @property
    def activations_per_row(self) -> int:
        """Values kept for the backward pass per row and member."""
        ...

    def init(self, rng: np.random.Generator, x: np.ndarray) -> dict[str, np.ndarray]:
        """Fresh parameters of one member; x: its training rows (n, d), for initialisations that look at the data."""
        ...

    def lr_factors(self) -> Mapping[str, float]:
        """Factors on the learning rate by parameter name; 1 where absent."""
        ...

    def decay_factors(self) -> Mapping[str, float]:
        """Factors on the weight decay by parameter name; 1 where absent."""
        ...

    def forward(self, p: Mapping[str, Tensor], x: Tensor, dropout: Dropout | None) -> Tensor:
        """p: (K, *shape) by name; x: (K, B, d) -> (K, B, E, c): E answers of each member, logits or targets."""
        ...

    def emit(self, scope: Scope, p: Arrays, x: str) -> list[str]:
        """The net as ONNX nodes: the names of its E answers, each (n, c)."""
        ...


@dataclass(frozen=True, eq=False)
class Dropout:
    """Drops units with the same random numbers in every member, each against its own rate, so members compare fairly.

    rate: (K, 1, 1), or (1, 1, 1) when all agree.  generator: seeded by the step, so that the numbers do not depend on
    who else is in the population.
    """

    rate: Tensor
    generator: torch.Generator

    def __call__(self, h: Tensor) -> Tensor:
        """h: (K, B, w)."""
        import torch

        u = torch.rand((1, *h.shape[1:]), generator=self.generator, device=h.device, dtype=torch.float32)
        return h * ((u >= self.rate).to(h.dtype) / (1.0 - self.rate).to(h.dtype))


def affine(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """h: (K, B, a), weight: (K, a, b), bias: (K, 1, b) -> (K, B, b).

    One output is a sum of products instead of a matrix product, whose rounding then depends on K in the BLAS used here.
    """
    import torch

    if weight.shape[-1] == 1:
        return (h * weight.transpose(1, 2)).sum(-1, keepdim=True) + bias
    return torch.baddbmm(bias, h, weight)
