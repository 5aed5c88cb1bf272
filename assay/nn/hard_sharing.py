"""One trunk for all targets and a head for each: Caruana, "Multitask Learning", Machine Learning 28, 1997."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from assay.model.graph import Scope
from assay.nn.blocks import Chain, inits
from assay.nn.layout import Arrays, Layout
from assay.nn.net import Dropout

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class HardSharing:
    """d_in -> width x depth, then for every target head_width -> its answer (head_width 0: straight to the answer).

    outputs: columns of each target's answer.
    """

    d_in: int
    outputs: tuple[int, ...]
    width: int
    depth: int
    head_width: int
    activation: str

    @cached_property
    def chains(self) -> tuple[Chain, ...]:
        """The trunk, then the heads."""
        trunk = Chain("trunk", (self.d_in, *[self.width] * self.depth), self.activation, ends=True)
        inner = (self.head_width,) if self.head_width else ()
        heads = [Chain(f"head{t}", (self.width, *inner, k), self.activation) for t, k in enumerate(self.outputs)]
        return (trunk, *heads)

    @cached_property
    def layout(self) -> Layout:
        return Layout(tuple(s for chain in self.chains for s in chain.shapes))

    @property
    def activations_per_row(self) -> int:
        return sum(c.activations_per_row for c in self.chains)

    def init(self, rng: np.random.Generator, x: np.ndarray) -> dict[str, np.ndarray]:
        return inits(self.chains, rng)

    def lr_factors(self) -> Mapping[str, float]:
        return {}

    def decay_factors(self) -> Mapping[str, float]:
        return {}

    def forward(self, p: Mapping[str, Tensor], x: Tensor, dropout: Dropout | None) -> Tensor:
        import torch

        trunk, *heads = self.chains
        h = trunk.forward(p, x, dropout)
        return torch.cat([head.forward(p, h, dropout) for head in heads], dim=2).unsqueeze(2)  # (K, B, 1, k)

    def emit(self, scope: Scope, p: Arrays, x: str) -> list[str]:
        trunk, *heads = self.chains
        h = trunk.emit(scope, p, x)
        return [scope.add("Concat", *(head.emit(scope, p, h) for head in heads), axis=1)]
