"""A self-attention encoder trained from scratch, with a pooling that shows where it attends.

Vaswani et al.: Attention Is All You Need, NeurIPS 2017; normalised before each part as in Xiong et al.: On Layer
Normalization in the Transformer Architecture, ICML 2020.  The text is pooled by one learned query, whose softmax weights
are the attention that `explain` shows.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from assay.model.graph import Scope
from assay.nn.tokens import (
    TextNet,
    array,
    emit_attended,
    emit_embedding,
    emit_known,
    emit_linear,
    emit_mask,
    emit_norm,
    known,
)

FAR = -1e4  # added to the score of what is no token


class Attention(nn.Module):
    """Multi-head self-attention over the tokens of each row.  d divisible by heads."""

    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(d, d) for _ in range(4))

    def forward(self, h: Tensor, far: Tensor) -> Tensor:
        """h: (B, T, d); far: (B, 1, 1, T), 0 or FAR -> (B, T, d)."""
        b, t, d = h.shape

        def split(x: Tensor) -> Tensor:
            return x.view(b, t, self.heads, d // self.heads).transpose(1, 2)  # (B, T, d) -> (B, heads, T, d / heads)

        mixed = F.scaled_dot_product_attention(
            split(self.query(h)), split(self.key(h)), split(self.value(h)), attn_mask=far
        )
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(b, t, d))
        return out

    def emit(self, scope: Scope, h: str, far: str, width: int) -> str:
        d = self.query.in_features
        apart = scope.const(np.array([0, width, self.heads, d // self.heads], np.int64))
        together = scope.const(np.array([0, width, d], np.int64))

        def split(layer: nn.Linear, perm: list[int]) -> str:
            return scope.add("Transpose", scope.add("Reshape", emit_linear(scope, layer, h), apart), perm=perm)

        q, k, v = split(self.query, [0, 2, 1, 3]), split(self.key, [0, 2, 3, 1]), split(self.value, [0, 2, 1, 3])
        scores = scope.add("Mul", scope.add("MatMul", q, k), scope.const(np.float32(1 / math.sqrt(d // self.heads))))
        mixed = scope.add("MatMul", scope.add("Softmax", scope.add("Add", scores, far), axis=-1), v)
        back = scope.add("Reshape", scope.add("Transpose", mixed, perm=[0, 2, 1, 3]), together)
        return emit_linear(scope, self.out, back)


class Layer(nn.Module):
    """h + attention(norm(h)), then h + feed-forward(norm(h))."""

    def __init__(self, d: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attention = Attention(d, heads)
        self.up, self.down = nn.Linear(d, 2 * d), nn.Linear(2 * d, d)
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor, far: Tensor) -> Tensor:
        h = h + self.dropout(self.attention(self.norm1(h), far))
        out: Tensor = h + self.dropout(self.down(F.gelu(self.up(self.norm2(h)))))
        return out

    def emit(self, scope: Scope, h: str, far: str, width: int) -> str:
        h = scope.add("Add", h, self.attention.emit(scope, emit_norm(scope, self.norm1, h), far, width))
        up = scope.add("Gelu", emit_linear(scope, self.up, emit_norm(scope, self.norm2, h)), approximate="none")
        return scope.add("Add", h, emit_linear(scope, self.down, up))


class Pooling(nn.Module):
    """The mean of the tokens, weighed by a softmax over one learned query; at first all weigh the same."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.score = nn.Linear(d, 1)
        nn.init.zeros_(self.score.weight)

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        """h: (B, T, d), mask: (B, T) -> (B, d)."""
        scores = self.score(h).squeeze(2) + (1 - mask) * FAR
        weights = torch.softmax(scores, 1) * mask
        return (weights[:, None] @ h).squeeze(1)

    def emit(self, scope: Scope, h: str, mask: str, far: str, view: str) -> str:
        """far: float32 [N, T].  view: what the weights are shown of, "" to show nothing."""
        one, two = (scope.const(np.array([v], np.int64)) for v in (1, 2))
        scores = scope.add("Add", scope.add("Squeeze", emit_linear(scope, self.score, h), two), far)
        weights = scope.add("Mul", scope.add("Softmax", scores, axis=1), mask)
        weights = emit_attended(scope, weights, view) if view else weights
        return scope.add("Squeeze", scope.add("MatMul", scope.add("Unsqueeze", weights, one), h), one)


class TextEncoder(TextNet):
    """size: tokens in the vocabulary; width: the longest text, in tokens."""

    def __init__(self, size: int, width: int, d: int, heads: int, layers: int, dropout: float, n_outputs: int) -> None:
        super().__init__()
        self.size = size
        self.embedding, self.position = nn.Embedding(size, d), nn.Embedding(width, d)
        nn.init.normal_(self.embedding.weight, std=0.1)
        nn.init.normal_(self.position.weight, std=0.02)
        self.layers = nn.ModuleList(Layer(d, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(d)
        self.pooling = Pooling(d)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(d, n_outputs)

    def forward(self, ids: Tensor) -> Tensor:
        mask = (ids > 0).to(torch.float32)
        far = ((1 - mask) * FAR)[:, None, None]
        h = self.dropout(self.embedding(known(ids, self.size)) + self.position.weight[: ids.shape[1]])
        for layer in self.layers:
            h = layer(h, far)
        out: Tensor = self.head(self.dropout(self.pooling(self.norm(h), mask)))
        return out

    def emit(self, scope: Scope, ids: str, width: int) -> str:
        mask = emit_mask(scope, ids)
        flat = scope.add("Mul", scope.add("Sub", scope.const(1.0), mask), scope.const(FAR))
        far = scope.add("Unsqueeze", flat, scope.const(np.array([1, 2], np.int64)))
        h = emit_embedding(scope, self.embedding, emit_known(scope, ids, self.size))
        h = scope.add("Add", h, scope.const(array(self.position.weight)[:width]))
        for layer in self.layers:
            assert isinstance(layer, Layer)
            h = layer.emit(scope, h, far, width)
        return emit_linear(
            scope, self.head, self.pooling.emit(scope, emit_norm(scope, self.norm, h), mask, flat, "pieces")
        )
