"""A trained `nn.Sequential` as ONNX nodes, layer by layer, in evaluation mode."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from assay.model.graph import Scope
from assay.nn.activations import emit_activation


class Reshape(nn.Module):
    """(N, a * b * c) -> (N, a, b, c)."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(len(x), *self.shape)


class Double(nn.Module):
    """Every pixel four times: (N, c, h, w) -> (N, c, 2 h, 2 w)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")


def emit_sequential(scope: Scope, layers: nn.Sequential, x: str) -> str:
    """The name of the output.  Raises TypeError for a layer that is not known here."""
    for layer in layers:
        x = _emit(scope, layer, x)
    return x


def _emit(scope: Scope, layer: nn.Module, x: str) -> str:
    if isinstance(layer, nn.Sequential):
        return emit_sequential(scope, layer, x)
    if isinstance(layer, nn.Dropout | nn.Identity):
        return x
    if isinstance(layer, nn.Linear):
        return scope.add("Gemm", x, _const(scope, layer.weight.T), _const(scope, layer.bias))
    if isinstance(layer, nn.Conv2d):
        return scope.add(
            "Conv", x, _const(scope, layer.weight), _const(scope, layer.bias), strides=list(layer.stride),
            pads=[*_sides(layer), *_sides(layer)], kernel_shape=list(layer.kernel_size),
        )  # fmt: skip
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        return _emit_norm(scope, layer, x)
    if isinstance(layer, nn.LeakyReLU):
        return scope.add("LeakyRelu", x, alpha=float(layer.negative_slope))
    if isinstance(layer, nn.Tanh | nn.Sigmoid):
        return scope.add(type(layer).__name__, x)
    if isinstance(layer, nn.ReLU | nn.GELU | nn.SiLU):
        return emit_activation(scope, type(layer).__name__.lower(), x)
    if isinstance(layer, Reshape):
        return scope.add("Reshape", x, scope.const([-1, *layer.shape]))
    if isinstance(layer, Double):
        factors = scope.const(np.array([1, 1, 2, 2], np.float32))
        return scope.add("Resize", x, "", factors, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")  # fmt: skip
    if isinstance(layer, nn.Flatten):
        return scope.add("Flatten", x, axis=1)
    raise TypeError(f"{type(layer).__name__} is not a layer that can be delivered")


def _emit_norm(scope: Scope, layer: nn.BatchNorm1d | nn.BatchNorm2d, x: str) -> str:
    """Mean and deviation of the training are constants: one factor and one summand a channel."""
    assert layer.running_mean is not None and layer.running_var is not None
    factor = layer.weight / torch.sqrt(layer.running_var + layer.eps)
    shape = (1, -1, 1, 1) if isinstance(layer, nn.BatchNorm2d) else (1, -1)
    scaled = scope.add("Mul", x, _const(scope, factor.reshape(shape)))
    return scope.add("Add", scaled, _const(scope, (layer.bias - layer.running_mean * factor).reshape(shape)))


def _sides(layer: nn.Conv2d) -> list[int]:
    assert not isinstance(layer.padding, str)
    return list(layer.padding)


def _const(scope: Scope, value: torch.Tensor | None) -> str:
    assert value is not None
    return scope.const(value.detach().cpu().numpy().astype(np.float32))
