"""A gated recurrent unit that reads a series from both ends.

Cho et al.: Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation. EMNLP 2014.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from assay.model.graph import Scope
from assay.nn.tokens import array, emit_linear


class SeriesGru(nn.Module):
    """One layer in both directions over steps of `patch` values each; its states are averaged and maximised over time."""

    def __init__(self, channels: int, n_steps: int, patch: int, d: int, dropout: float, n_outputs: int) -> None:
        super().__init__()
        self.channels, self.patch, self.d = channels, patch, d
        self.n_patches = n_steps // patch
        self.gru = nn.GRU(channels * patch, d, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(4 * d, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, L) -> (B, k)."""
        h = patches(x, self.patch)
        states = self.gru(h)[0]  # (B, T, 2 d)
        out: Tensor = self.head(self.dropout(torch.cat([states.mean(1), states.amax(1)], 1)))
        return out

    def emit(self, scope: Scope, x: str) -> str:
        h = scope.add("Transpose", add_patches(scope, x, self.channels, self.n_patches, self.patch), perm=[1, 0, 2])
        sides = ["", "_reverse"]

        def stacked(name: str) -> np.ndarray:
            return np.stack([self._reordered(array(getattr(self.gru, f"{name}_l0{side}"))) for side in sides])

        bias = np.concatenate([stacked("bias_ih"), stacked("bias_hh")], axis=1)
        weights = [scope.const(v) for v in (stacked("weight_ih"), stacked("weight_hh"), bias)]
        states = scope.add_many(
            "GRU", h, *weights, outputs=1, direction="bidirectional", hidden_size=self.d, linear_before_reset=1
        )[0]  # (T, 2, B, d)
        states = scope.add("Transpose", states, perm=[2, 0, 1, 3])
        states = scope.add("Reshape", states, scope.const(np.array([0, 0, 2 * self.d], np.int64)))
        axis = scope.const(np.array([1], np.int64))
        mean, top = (scope.add(op, states, axis, keepdims=0) for op in ("ReduceMean", "ReduceMax"))
        return emit_linear(scope, self.head, scope.add("Concat", mean, top, axis=1))

    def _reordered(self, value: np.ndarray) -> np.ndarray:
        """Gates in the order of ONNX (update, reset, new) instead of torch's (reset, update, new)."""
        reset, update, new = np.split(value, 3)
        return np.concatenate([update, reset, new])


def patches(x: Tensor, patch: int) -> Tensor:
    """(B, C, L) -> (B, L // patch, C * patch); what is left over at the start is passed over."""
    b, c, n_steps = x.shape
    t = n_steps // patch
    return x[:, :, n_steps - t * patch :].reshape(b, c, t, patch).transpose(1, 2).reshape(b, t, c * patch)


def add_patches(scope: Scope, x: str, channels: int, n_patches: int, patch: int) -> str:
    """`patches` as nodes."""
    ends = [scope.const(np.array([v], np.int64)) for v in (-n_patches * patch, np.iinfo(np.int64).max, 2)]
    apart = scope.add(
        "Reshape", scope.add("Slice", x, *ends), scope.const(np.array([0, channels, n_patches, patch], np.int64))
    )
    turned = scope.add("Transpose", apart, perm=[0, 2, 1, 3])
    return scope.add("Reshape", turned, scope.const(np.array([0, n_patches, channels * patch], np.int64)))
