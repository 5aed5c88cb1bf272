"""One description of a computation, two ways to carry it out: on torch tensors, or as nodes of a graph.

What a net does to a picture is written once as `compute(ops, x)`; with `TorchOps` it trains and predicts, with `ScopeOps`
it becomes ONNX (batch norm folded into the convolution before it), so that the two cannot drift apart.  Pictures are
(N, channels, rows, columns), tokens (N, tokens, width).  A value is a tensor or the name of a graph's value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assay.model.graph import Scope

Value = Any  # Tensor | str


class Ops(Protocol):
    """The operations that nets for pictures are made of."""

    def pixels(self, x: Value) -> Value:
        """uint8 (N, rows, columns, channels) -> float (N, channels, rows, columns), 0 to 255."""
        ...

    def const(self, value: np.ndarray | Tensor) -> Value: ...
    def add(self, a: Value, b: Value) -> Value: ...
    def mul(self, a: Value, b: Value) -> Value: ...
    def div(self, a: Value, b: Value) -> Value: ...
    def sqrt(self, x: Value) -> Value: ...
    def relu(self, x: Value) -> Value: ...
    def gelu(self, x: Value) -> Value: ...
    def clip(self, x: Value, low: float, high: float) -> Value: ...
    def rounded(self, x: Value) -> Value:
        """To the nearest whole number, halves to the even one."""
        ...

    def concat(self, values: Sequence[Value], axis: int) -> Value: ...
    def matmul(self, a: Value, b: Value) -> Value: ...
    def softmax(self, x: Value) -> Value:
        """Over the last axis."""
        ...

    def transpose(self, x: Value, order: Sequence[int]) -> Value: ...
    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """shape: without the rows, which stay."""
        ...

    def mean(self, x: Value, axes: Sequence[int], keep: bool = False) -> Value: ...
    def max_pool(self, x: Value, k: int, stride: int, padding: int = 0) -> Value: ...
    def avg_pool(self, x: Value, k: int, stride: int) -> Value: ...
    def resized(self, x: Value, side: int) -> Value:
        """(N, channels, rows, columns) -> (N, channels, side, side), bilinear."""
        ...

    def filters(
        self,
        x: Value,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
    ) -> Value:
        """Convolution with fixed filters, float32 (out, in / groups, rows, columns)."""
        ...

    def conv(self, x: Value, conv: nn.Conv2d, norm: nn.Module | None = None) -> Value:
        """A convolution, followed by its batch norm where there is one."""
        ...

    def linear(self, x: Value, layer: nn.Linear) -> Value: ...
    def layer_norm(self, x: Value, norm: nn.LayerNorm) -> Value: ...
    def dropout(self, x: Value, layer: nn.Module) -> Value:
        """Any layer that does nothing in serving."""
        ...


class TorchOps:
    """On tensors, differentiable; modules are in training or evaluation mode as their owner set them."""

    def pixels(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2).float()

    def const(self, value: np.ndarray | Tensor) -> Tensor:
        return value if isinstance(value, Tensor) else torch.from_numpy(np.ascontiguousarray(value))

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def mul(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b

    def div(self, a: Tensor, b: Tensor) -> Tensor:
        return a / b

    def sqrt(self, x: Tensor) -> Tensor:
        return x.sqrt()

    def relu(self, x: Tensor) -> Tensor:
        return x.relu()

    def gelu(self, x: Tensor) -> Tensor:
        return F.gelu(x)

    def clip(self, x: Tensor, low: float, high: float) -> Tensor:
        return x.clamp(low, high)

    def rounded(self, x: Tensor) -> Tensor:
        return x.round()

    def concat(self, values: Sequence[Tensor], axis: int) -> Tensor:
        return torch.cat(list(values), axis)

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b

    def softmax(self, x: Tensor) -> Tensor:
        return x.softmax(-1)

    def transpose(self, x: Tensor, order: Sequence[int]) -> Tensor:
        return x.permute(*order)

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        return x.reshape(x.shape[0], *shape)

    def mean(self, x: Tensor, axes: Sequence[int], keep: bool = False) -> Tensor:
        return x.mean(tuple(axes), keepdim=keep)

    def max_pool(self, x: Tensor, k: int, stride: int, padding: int = 0) -> Tensor:
        return F.max_pool2d(x, k, stride, padding)

    def avg_pool(self, x: Tensor, k: int, stride: int) -> Tensor:
        return F.avg_pool2d(x, k, stride)

    def resized(self, x: Tensor, side: int) -> Tensor:
        if x.shape[-2:] == (side, side):
            return x
        return F.interpolate(x, (side, side), mode="bilinear", align_corners=False)

    def filters(
        self,
        x: Tensor,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
    ) -> Tensor:
        shift = None if bias is None else torch.from_numpy(bias)
        return F.conv2d(x, torch.from_numpy(weight), shift, stride, padding, groups=groups)

    def conv(self, x: Tensor, conv: nn.Conv2d, norm: nn.Module | None = None) -> Tensor:
        out: Tensor = conv(x)
        return out if norm is None else norm(out)

    def linear(self, x: Tensor, layer: nn.Linear) -> Tensor:
        out: Tensor = layer(x)
        return out

    def layer_norm(self, x: Tensor, norm: nn.LayerNorm) -> Tensor:
        out: Tensor = norm(x)
        return out

    def dropout(self, x: Tensor, layer: nn.Module) -> Tensor:
        out: Tensor = layer(x)
        return out


class ScopeOps:
    """As nodes.  Parameters are taken as they are now."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    def pixels(self, x: str) -> str:
        return self.scope.add("Transpose", self.scope.add("Cast", x, to=1), perm=[0, 3, 1, 2])

    def const(self, value: np.ndarray | Tensor) -> str:
        return self.scope.const(_array(value))

    def add(self, a: str, b: str) -> str:
        return self.scope.add("Add", a, b)

    def mul(self, a: str, b: str) -> str:
        return self.scope.add("Mul", a, b)

    def div(self, a: str, b: str) -> str:
        return self.scope.add("Div", a, b)

    def sqrt(self, x: str) -> str:
        return self.scope.add("Sqrt", x)

    def relu(self, x: str) -> str:
        return self.scope.add("Relu", x)

    def gelu(self, x: str) -> str:
        return self.scope.add("Gelu", x)

    def clip(self, x: str, low: float, high: float) -> str:
        return self.scope.add("Clip", x, self.scope.const(np.float32(low)), self.scope.const(np.float32(high)))

    def rounded(self, x: str) -> str:
        return self.scope.add("Round", x)

    def concat(self, values: Sequence[str], axis: int) -> str:
        return self.scope.add("Concat", *values, axis=axis)

    def matmul(self, a: str, b: str) -> str:
        return self.scope.add("MatMul", a, b)

    def softmax(self, x: str) -> str:
        return self.scope.add("Softmax", x, axis=-1)

    def transpose(self, x: str, order: Sequence[int]) -> str:
        return self.scope.add("Transpose", x, perm=list(order))

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        return self.scope.add("Reshape", x, self.scope.const(np.array([0, *shape], np.int64)))

    def mean(self, x: str, axes: Sequence[int], keep: bool = False) -> str:
        return self.scope.add("ReduceMean", x, self.scope.const(np.array(list(axes), np.int64)), keepdims=int(keep))

    def max_pool(self, x: str, k: int, stride: int, padding: int = 0) -> str:
        return self.scope.add("MaxPool", x, kernel_shape=[k, k], strides=[stride, stride], pads=[padding] * 4)

    def avg_pool(self, x: str, k: int, stride: int) -> str:
        return self.scope.add("AveragePool", x, kernel_shape=[k, k], strides=[stride, stride])

    def resized(self, x: str, side: int) -> str:
        sizes = self.scope.const(np.array([side, side], np.int64))
        return self.scope.add(
            "Resize", x, "", "", sizes, axes=[2, 3], mode="linear", coordinate_transformation_mode="half_pixel"
        )

    def filters(
        self,
        x: str,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        pads: Sequence[int] = (),
    ) -> str:
        inputs = [x, self.scope.const(weight.astype(np.float32))]
        if bias is not None:
            inputs.append(self.scope.const(bias.astype(np.float32)))
        rows, columns = weight.shape[2:]
        return self.scope.add(
            "Conv", *inputs, kernel_shape=[rows, columns], strides=[stride, stride],
            pads=list(pads) or [padding] * 4, group=groups,
        )  # fmt: skip

    def conv(self, x: str, conv: nn.Conv2d, norm: nn.Module | None = None) -> str:
        weight = _array(conv.weight).astype(np.float64)
        bias = np.zeros(len(weight)) if conv.bias is None else _array(conv.bias).astype(np.float64)
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_var is not None and norm.running_mean is not None
            scale = _array(norm.weight).astype(np.float64) / np.sqrt(_array(norm.running_var) + norm.eps)
            weight = weight * scale[:, None, None, None]
            bias = (bias - _array(norm.running_mean)) * scale + _array(norm.bias)
        elif norm is not None:
            raise TypeError(f"{type(norm).__name__} cannot be folded into a convolution")
        padding = conv.padding[0] if isinstance(conv.padding, tuple) else 0
        uneven = getattr(conv, "pads", ())  # of a convolution that pads one end more than the other
        return self.filters(
            x,
            weight.astype(np.float32),
            bias.astype(np.float32),
            int(conv.stride[0]),
            int(padding),
            conv.groups,
            uneven,
        )

    def linear(self, x: str, layer: nn.Linear) -> str:
        out = self.scope.add("MatMul", x, self.scope.const(_array(layer.weight).T.copy()))
        return out if layer.bias is None else self.scope.add("Add", out, self.scope.const(_array(layer.bias)))

    def layer_norm(self, x: str, norm: nn.LayerNorm) -> str:
        weight, bias = self.scope.const(_array(norm.weight)), self.scope.const(_array(norm.bias))
        return self.scope.add("LayerNormalization", x, weight, bias, axis=-1, epsilon=float(norm.eps))

    def dropout(self, x: str, layer: nn.Module) -> str:
        return x


def _array(value: np.ndarray | Tensor) -> np.ndarray:
    return value.detach().float().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
