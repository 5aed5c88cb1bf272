"""Self-attention over patches of a series, pooled by one learned query whose weights say where the net attends.

The layers are those of `assay.nn.text_encoder` (Vaswani et al., NeurIPS 2017; normalised before each part).  Patches as in
Nie, Nguyen, Sinthong, Kalagnanam: A Time Series is Worth 64 Words. ICLR 2023.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from assay.model.graph import Scope
from assay.nn.gru import add_patches, patches
from assay.nn.text_encoder import Layer
from assay.nn.tokens import array, emit_attended, emit_linear, emit_norm

VIEW = "steps"  # the delivered graph's output is `attention_steps`


class SeriesTransformer(nn.Module):
    """d divisible by heads."""

    def __init__(
        self, channels: int, n_steps: int, patch: int, d: int, heads: int, layers: int, dropout: float, n_outputs: int
    ) -> None:
        super().__init__()
        self.channels, self.n_steps, self.patch = channels, n_steps, patch
        self.n_patches = n_steps // patch
        self.embedding = nn.Linear(channels * patch, d)
        self.position = nn.Parameter(0.1 * torch.randn(self.n_patches, d))
        self.layers = nn.ModuleList(Layer(d, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(d)
        self.score = nn.Linear(d, 1)
        nn.init.zeros_(self.score.weight)  # at first all patches weigh the same
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(d, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, L) -> (B, k)."""
        h = self.embedding(patches(x, self.patch)) + self.position
        far = torch.zeros((1, 1, 1, self.n_patches), device=x.device)
        for layer in self.layers:
            h = layer(h, far)
        h = self.norm(h)
        weights = torch.softmax(self.score(h), 1)  # (B, T, 1)
        out: Tensor = self.head(self.dropout((weights * h).sum(1)))
        return out

    def emit(self, scope: Scope, x: str) -> str:
        h = emit_linear(scope, self.embedding, add_patches(scope, x, self.channels, self.n_patches, self.patch))
        h = scope.add("Add", h, scope.const(array(self.position)))
        far = scope.const(np.zeros((1, 1, 1, self.n_patches), np.float32))
        for layer in self.layers:
            assert isinstance(layer, Layer)
            h = layer.emit(scope, h, far, self.n_patches)
        h = emit_norm(scope, self.norm, h)
        weights = scope.add("Softmax", emit_linear(scope, self.score, h), axis=1)
        self._emit_steps(scope, weights)
        mixed = scope.add("ReduceSum", scope.add("Mul", weights, h), scope.const(np.array([1], np.int64)), keepdims=0)
        return emit_linear(scope, self.head, mixed)

    def _emit_steps(self, scope: Scope, weights: str) -> None:
        """The weight of a patch, shared evenly by its steps: float32 [N, L], used only where somebody asks for it."""
        share = np.zeros((self.n_patches, self.n_steps), np.float32)
        start = self.n_steps - self.n_patches * self.patch
        for i in range(self.n_patches):
            share[i, start + i * self.patch : start + (i + 1) * self.patch] = 1.0 / self.patch
        flat = scope.add("Squeeze", weights, scope.const(np.array([2], np.int64)))
        emit_attended(scope, scope.add("MatMul", flat, scope.const(share)), VIEW)
