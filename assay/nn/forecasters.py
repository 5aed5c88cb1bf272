"""Nets from the last values of a series to the next ones; series of every origin are read by the same net.

`BasisNet`: Oreshkin, Carpov, Chapados, Bengio: N-BEATS. ICLR 2020; with pooled inputs and few knots Challu et al.: N-HiTS.
AAAI 2023.  `Decomposed`: Zeng, Chen, Zhang, Xu: Are Transformers Effective for Time Series Forecasting?  AAAI 2023 (DLinear).
`PatchForecaster`: Nie, Nguyen, Sinthong, Kalagnanam: A Time Series is Worth 64 Words. ICLR 2023 (PatchTST).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from assay.model.graph import Scope
from assay.nn.gru import add_patches, patches
from assay.nn.text_encoder import Layer
from assay.nn.tokens import array, emit_attended, emit_linear, emit_norm

VIEW = "steps"  # the delivered graph's output is `attention_steps`


class WindowNet(nn.Module):
    """A module over windows that can write itself down as nodes."""

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, width) -> (B, horizon)."""
        raise NotImplementedError

    def emit(self, scope: Scope, x: str) -> str:
        """float32 [N, width] -> float32 [N, horizon]."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Basis:
    """What a block's coefficients stand for: curves over the past, float32 (k, width), and the future, (k, horizon).

    pool: so many neighbours of the input are averaged before the block looks at it.
    """

    past: np.ndarray
    future: np.ndarray
    pool: int = 1


def polynomials(width: int, horizon: int, degree: int = 2) -> Basis:
    """Powers of time, apart for past and future, as in the trend stack of N-BEATS."""
    powers = np.arange(degree + 1)[:, None]
    return _apart((np.arange(width) / width) ** powers, (np.arange(horizon) / horizon) ** powers)


def waves(width: int, horizon: int, season: int) -> Basis:
    """Harmonics of the season, the same ones for past and future; of the horizon where there is no season."""
    period = season if season > 1 else max(2, horizon)
    order = np.arange(1, max(1, min(period // 2, 8)) + 1)[:, None]
    t = np.arange(-width, horizon) / period
    both = np.concatenate([np.cos(2 * np.pi * order * t), np.sin(2 * np.pi * order * t)])
    return _apart(both[:, :width], both[:, width:])


def knots(width: int, horizon: int, spacing: int, pool: int) -> Basis:
    """Straight lines between knots `spacing` steps apart; the past at the resolution of the pooled input."""
    return _apart(_hats(width, pool), _hats(horizon, spacing), pool)


def _apart(past: np.ndarray, future: np.ndarray, pool: int = 1) -> Basis:
    """Coefficients of their own for past and future, in units in which a typical curve has size one."""
    k, f = len(past), len(future)
    left = np.concatenate([past, np.zeros((f, past.shape[1]))])
    right = np.concatenate([np.zeros((k, future.shape[1])), future])
    return Basis(left.astype(np.float32), right.astype(np.float32), pool)


def _hats(n: int, spacing: int) -> np.ndarray:
    count = max(1, -(-n // max(1, spacing)))
    at, places = np.arange(n), np.linspace(0, n - 1, count) if count > 1 else np.zeros(1)
    return np.stack([np.interp(at, places, row) for row in np.eye(count)])


class Block(nn.Module):
    """A perceptron from the residual past to coefficients of a basis."""

    def __init__(self, basis: Basis, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        width = basis.past.shape[1]
        self.pool = max(1, min(basis.pool, width))
        self.kept = width // self.pool
        sizes = [self.kept, *[hidden] * layers]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.coefficients = nn.Linear(hidden, len(basis.past))
        nn.init.normal_(self.coefficients.weight, std=0.01)
        nn.init.zeros_(self.coefficients.bias)
        self.dropout = nn.Dropout(dropout)
        self.past: Tensor
        self.future: Tensor
        self.register_buffer("past", torch.from_numpy(basis.past), persistent=False)
        self.register_buffer("future", torch.from_numpy(basis.future), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = x
        if self.pool > 1:
            h = x[:, x.shape[1] - self.kept * self.pool :].unflatten(1, (self.kept, self.pool)).mean(2)
        for layer in self.layers:
            h = self.dropout(torch.relu(layer(h)))
        c = self.coefficients(h)
        return c @ self.past, c @ self.future

    def emit(self, scope: Scope, x: str, width: int) -> tuple[str, str]:
        h = x
        if self.pool > 1:
            mean = np.zeros((width, self.kept), np.float32)
            for i in range(self.kept):
                start = width - (self.kept - i) * self.pool
                mean[start : start + self.pool, i] = 1.0 / self.pool
            h = scope.add("MatMul", x, scope.const(mean))
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            h = scope.add("Relu", emit_linear(scope, layer, h))
        c = emit_linear(scope, self.coefficients, h)
        past, future = (scope.add("MatMul", c, scope.const(array(v))) for v in (self.past, self.future))
        return past, future


class BasisNet(WindowNet):
    """Blocks in a row: each explains a part of the past, takes it away, and adds what follows from it to the forecast."""

    def __init__(self, bases: Sequence[Basis], hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.width = bases[0].past.shape[1]
        self.blocks = nn.ModuleList(Block(b, hidden, layers, dropout) for b in bases)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor | None = None
        for block in self.blocks:
            past, future = block(x)
            x = x - past
            out = future if out is None else out + future
        assert out is not None
        return out

    def emit(self, scope: Scope, x: str) -> str:
        parts = []
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            past, future = block.emit(scope, x, self.width)
            parts.append(future)
            if i + 1 < len(self.blocks):
                x = scope.add("Sub", x, past)
        return parts[0] if len(parts) == 1 else scope.add("Sum", *parts)


class Decomposed(WindowNet):
    """A moving average and what it leaves, each through a linear map of its own."""

    def __init__(self, width: int, horizon: int, kernel: int) -> None:
        super().__init__()
        kernel = max(1, min(kernel, width)) | 1
        half = kernel // 2
        smooth = np.zeros((width, width), np.float32)
        for i in range(width):  # the ends keep their value
            for j in range(i - half, i + half + 1):
                smooth[min(max(j, 0), width - 1), i] += 1.0 / kernel
        self.smooth: Tensor
        self.register_buffer("smooth", torch.from_numpy(smooth), persistent=False)
        self.trend, self.rest = nn.Linear(width, horizon), nn.Linear(width, horizon)
        for layer in (self.trend, self.rest):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        trend = x @ self.smooth
        out: Tensor = self.trend(trend) + self.rest(x - trend)
        return out

    def emit(self, scope: Scope, x: str) -> str:
        """Both maps and the average are one map."""
        smooth = array(self.smooth).astype(np.float64)
        a, b = (array(layer.weight).astype(np.float64).T for layer in (self.trend, self.rest))
        whole = smooth @ a + b - smooth @ b
        bias = array(self.trend.bias) + array(self.rest.bias)
        return scope.add("Add", scope.add("MatMul", x, scope.const(whole.astype(np.float32))), scope.const(bias))


class PatchForecaster(WindowNet):
    """Self-attention over patches, all of which the head sees; one learned query tells where the net looks.

    The query's mean of the patches goes to the head beside them, so that its weights are part of the answer.  shown: the
    whole window, the end of which is `width`.
    """

    def __init__(
        self, width: int, horizon: int, shown: int, patch: int, d: int, heads: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.shown, self.patch = shown, max(1, min(patch, width))
        self.n_patches = width // self.patch
        self.embedding = nn.Linear(self.patch, d)
        self.position = nn.Parameter(0.02 * torch.randn(self.n_patches, d))
        self.layers = nn.ModuleList(Layer(d, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(d)
        self.score = nn.Linear(d, 1)
        nn.init.zeros_(self.score.weight)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear((self.n_patches + 1) * d, horizon)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embedding(patches(x[:, None], self.patch)) + self.position
        far = torch.zeros((1, 1, 1, self.n_patches), device=x.device)
        for layer in self.layers:
            h = layer(h, far)
        h = self.norm(h)
        weights = torch.softmax(self.score(h), 1)  # (B, T, 1)
        seen = torch.cat([h, (weights * h).sum(1, keepdim=True)], 1).flatten(1)
        out: Tensor = self.head(self.dropout(seen))
        return out

    def emit(self, scope: Scope, x: str) -> str:
        one = scope.const(np.array([1], np.int64))
        h = add_patches(scope, scope.add("Unsqueeze", x, one), 1, self.n_patches, self.patch)
        h = scope.add("Add", emit_linear(scope, self.embedding, h), scope.const(array(self.position)))
        far = scope.const(np.zeros((1, 1, 1, self.n_patches), np.float32))
        for layer in self.layers:
            assert isinstance(layer, Layer)
            h = layer.emit(scope, h, far, self.n_patches)
        h = emit_norm(scope, self.norm, h)
        weights = scope.add("Softmax", emit_linear(scope, self.score, h), axis=1)
        self._emit_steps(scope, weights)
        mixed = scope.add("ReduceSum", scope.add("Mul", weights, h), one, keepdims=1)
        flat = scope.add("Reshape", scope.add("Concat", h, mixed, axis=1), scope.const(np.array([0, -1], np.int64)))
        return emit_linear(scope, self.head, flat)

    def _emit_steps(self, scope: Scope, weights: str) -> None:
        """The weight of a patch, shared evenly by its steps: float32 [N, shown], used only where somebody asks for it."""
        share = np.zeros((self.n_patches, self.shown), np.float32)
        start = self.shown - self.n_patches * self.patch
        for i in range(self.n_patches):
            share[i, start + i * self.patch : start + (i + 1) * self.patch] = 1.0 / self.patch
        flat = scope.add("Squeeze", weights, scope.const(np.array([2], np.int64)))
        emit_attended(scope, scope.add("MatMul", flat, scope.const(share)), VIEW)
