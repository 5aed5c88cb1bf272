"""Activation functions by name: how torch computes them and how ONNX does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from assay.model.graph import Scope

if TYPE_CHECKING:
    from torch import Tensor


def activate(name: str, h: Tensor) -> Tensor:
    """name: relu, gelu, silu, selu or mish."""
    from torch.nn import functional as F

    known: dict[str, Callable[[Tensor], Tensor]] = {
        "relu": F.relu,
        "gelu": F.gelu,
        "silu": F.silu,
        "selu": F.selu,
        "mish": F.mish,
    }
    return known[name](h)


def emit_activation(scope: Scope, name: str, x: str) -> str:
    if name == "silu":
        return scope.add("Mul", x, scope.add("Sigmoid", x))
    if name == "gelu":
        return scope.add("Gelu", x, approximate="none")
    if name == "mish":
        return scope.add("Mul", x, scope.add("Tanh", _softplus(scope, x)))
    return scope.add({"relu": "Relu", "selu": "Selu"}[name], x)


def _softplus(scope: Scope, x: str) -> str:
    """log(1 + exp(x)), written so that a large x cannot overflow: max(x, 0) + log(1 + exp(-|x|))."""
    tail = scope.add("Log", scope.add("Add", scope.const(1.0), scope.add("Exp", scope.add("Neg", scope.add("Abs", x)))))
    return scope.add("Add", scope.add("Relu", x), tail)
