"""Convolutions over series, and InceptionTime made of them.

Ismail Fawaz et al.: InceptionTime: Finding AlexNet for Time Series Classification. Data Mining and Knowledge Discovery
34, 2020.  Series are (N, channels, steps).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from assay.model.graph import Scope
from assay.nn.tokens import array, emit_linear


class Filters(nn.Module):
    """Filters of several widths side by side, read as one convolution whose narrow filters stand in the middle; then
    batch norm.  widths odd."""

    def __init__(self, d_in: int, d_each: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(d_in, d_each, w, padding=w // 2, bias=False) for w in widths)
        self.norm = nn.BatchNorm1d(d_each * len(widths))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(torch.cat([conv(x) for conv in self.convs], 1))
        return out

    def emit(self, scope: Scope, x: str) -> str:
        """The norm is folded into the filters, in float64."""
        norm = self.norm
        assert norm.running_mean is not None and norm.running_var is not None
        mean, variance, factor, shift = (
            array(v).astype(np.float64) for v in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        )
        scale = factor / np.sqrt(variance + norm.eps)
        bias = shift - mean * scale
        parts, start = [], 0
        for conv in self.convs:
            assert isinstance(conv, nn.Conv1d)
            weight = array(conv.weight).astype(np.float64)
            rows, pad = slice(start, start + len(weight)), weight.shape[2] // 2
            kernel = scope.const((weight * scale[rows, None, None]).astype(np.float32))
            start += len(weight)
            parts.append(
                scope.add("Conv", x, kernel, scope.const(bias[rows].astype(np.float32)), pads=[pad, pad], kernel_shape=[weight.shape[2]])
            )  # fmt: skip
        return parts[0] if len(parts) == 1 else scope.add("Concat", *parts, axis=1)


class Inception(nn.Module):
    """Filters of three widths over a narrow view of the input, and of width one over its local maxima."""

    def __init__(self, d_in: int, d_each: int, width: int) -> None:
        super().__init__()
        self.narrow = nn.Conv1d(d_in, d_each, 1, bias=False) if d_in > 1 else None
        widths = tuple(max(3, width >> i) | 1 for i in range(3))
        self.wide = Filters(d_each if d_in > 1 else d_in, d_each, widths)
        self.point = Filters(d_in, d_each, (1,))

    def forward(self, x: Tensor) -> Tensor:
        seen = x if self.narrow is None else self.narrow(x)
        out = torch.cat([self.wide(seen), self.point(nn.functional.max_pool1d(x, 3, 1, 1))], 1)
        return torch.relu(out)

    def emit(self, scope: Scope, x: str) -> str:
        seen = x
        if self.narrow is not None:
            seen = scope.add("Conv", x, scope.const(array(self.narrow.weight)), kernel_shape=[1])
        top = scope.add("MaxPool", x, kernel_shape=[3], strides=[1], pads=[1, 1])
        return scope.add("Relu", scope.add("Concat", self.wide.emit(scope, seen), self.point.emit(scope, top), axis=1))


class InceptionTime(nn.Module):
    """Inceptions, every third with a shortcut; then the mean over the steps."""

    def __init__(self, channels: int, d_each: int, depth: int, width: int, dropout: float, n_outputs: int) -> None:
        super().__init__()
        sizes = [channels, *[4 * d_each] * depth]
        self.blocks = nn.ModuleList(Inception(d, d_each, width) for d in sizes[:-1])
        starts = [sizes[i - 2] for i in range(2, depth, 3)]
        self.shortcuts = nn.ModuleList(Filters(d, 4 * d_each, (1,)) for d in starts)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(4 * d_each, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        h, kept = x, x
        for i, block in enumerate(self.blocks):
            h = block(h)
            if i % 3 == 2:
                h = torch.relu(h + self.shortcuts[i // 3](kept))
                kept = h
        out: Tensor = self.head(self.dropout(h.mean(2)))
        return out

    def emit(self, scope: Scope, x: str) -> str:
        h, kept = x, x
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Inception)
            h = block.emit(scope, h)
            if i % 3 == 2:
                shortcut = self.shortcuts[i // 3]
                assert isinstance(shortcut, Filters)
                h = scope.add("Relu", scope.add("Add", h, shortcut.emit(scope, kept)))
                kept = h
        mean = scope.add("ReduceMean", h, scope.const(np.array([2], np.int64)), keepdims=0)
        return emit_linear(scope, self.head, mean)
