"""What nets over rows of token numbers share: where tokens are, their embeddings, and small layers as nodes.

Token numbers are 0 behind the end of a text; numbers that the vocabulary does not hold count as 1, the unknown token.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from assay.model.graph import Node, Scope

SMALL = 4096  # numbers of a constant that is not worth a node


class TextNet(nn.Module):
    """A module over token numbers that can write itself down as nodes."""

    def forward(self, ids: Tensor) -> Tensor:
        """ids: int64 (B, T) -> (B, k) logits or targets."""
        raise NotImplementedError

    def emit(self, scope: Scope, ids: str, width: int) -> str:
        """ids: int64 [N, width] -> float32 [N, k]."""
        raise NotImplementedError


def known(ids: Tensor, size: int) -> Tensor:
    """Numbers outside the vocabulary become 1."""
    return torch.where((ids >= 0) & (ids < size), ids, 1)


def emit_known(scope: Scope, ids: str, size: int) -> str:
    low, high = scope.const(np.int64(0)), scope.const(np.int64(size))
    inside = scope.add("And", scope.add("GreaterOrEqual", ids, low), scope.add("Less", ids, high))
    return scope.add("Where", inside, ids, scope.const(np.int64(1)))


def emit_mask(scope: Scope, ids: str) -> str:
    """float32 [N, T], 1 where a token is."""
    return scope.add("Cast", scope.add("Greater", ids, scope.const(np.int64(0))), to=1)


def emit_embedding(scope: Scope, layer: nn.Embedding, ids: str) -> str:
    """int64 [N, T] -> float32 [N, T, d]."""
    return scope.add("Gather", emit_weight(scope, array(layer.weight)), ids)


def array(value: Tensor) -> np.ndarray:
    return np.asarray(value.detach().cpu().numpy(), np.float32)


def emit_linear(scope: Scope, layer: nn.Linear, x: str) -> str:
    """Over the last axis of any shape.  Weights that 16 bits hold exactly are stored so."""
    weight = np.ascontiguousarray(array(layer.weight).T)
    product = scope.add("MatMul", x, emit_weight(scope, weight))
    return product if layer.bias is None else scope.add("Add", product, scope.const(array(layer.bias)))


def emit_weight(scope: Scope, weight: np.ndarray) -> str:
    """A float32 constant, in 16 bits where that loses nothing and saves something."""
    with np.errstate(over="ignore"):
        small = weight.astype(np.float16)
    if weight.size < SMALL or not np.array_equal(small.astype(np.float32), weight):
        return scope.const(weight)
    return scope.add("Cast", scope.const(small), to=1)


def emit_norm(scope: Scope, layer: nn.LayerNorm, x: str) -> str:
    weight, bias = scope.const(array(layer.weight)), scope.const(array(layer.bias))
    return scope.add("LayerNormalization", x, weight, bias, axis=-1, epsilon=float(layer.eps))


def emit_attended(scope: Scope, weights: str, view: str) -> str:
    """The same value, float32 [N, T], under a name that says: here is where the model attends in this view of a text.

    The name keeps its end when graphs are joined, so that the delivered graph can answer with it (`assay.model.compose`).
    """
    name = f"attention_{view}.{len(scope.nodes)}"
    scope.nodes.append(Node("Identity", (weights,), (name,), {}))
    return name
