"""Kernels: how similar rows are, and the same as a graph.

Rasmussen, Williams: Gaussian Processes for Machine Learning, 2006, section 4.2.
"""

from __future__ import annotations

import numpy as np

from assay.model.graph import Scope


def squared_gaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances, float64 (len(a), len(b))."""
    return np.asarray(np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2.0 * (a @ b.T), 0.0))


def similarity(kernel: str, a: np.ndarray, b: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """float64 (len(a), len(b)), 1 for equal rows; distances d in units of sqrt(scale).

    gaussian: exp(-d^2).  matern32: (1 + sqrt(3) d) exp(-sqrt(3) d).  exponential: exp(-d).
    """
    gaps = squared_gaps(a, b) / scale
    if kernel == "gaussian":
        return np.asarray(np.exp(-gaps))
    far = np.sqrt(gaps) * (np.sqrt(3.0) if kernel == "matern32" else 1.0)
    return np.asarray(np.exp(-far) * (1.0 + far) if kernel == "matern32" else np.exp(-far))


def emit_similarity(scope: Scope, kernel: str, rows: str, others: np.ndarray, scale: float = 1.0) -> str:
    """float64 [N, m] of rows float64 [N, d] to others (m, d).  In float64: the weights of a smooth fit are large and
    cancel."""

    def const(value: np.ndarray | float) -> str:
        return scope.const(np.asarray(value, np.float64), np.float64)

    own = scope.add("ReduceSum", scope.add("Mul", rows, rows), scope.const([1]), keepdims=1)
    product = scope.add("MatMul", rows, const(-2.0 * others.T))
    squares = const((others**2).sum(axis=1)[None, :])
    gaps = scope.add("Max", scope.add("Add", scope.add("Add", product, squares), own), const(0.0))
    gaps = scope.add("Div", gaps, const(scale)) if scale != 1.0 else gaps
    if kernel == "gaussian":
        return scope.add("Exp", scope.add("Neg", gaps))
    far = scope.add("Mul", scope.add("Sqrt", gaps), const(np.sqrt(3.0) if kernel == "matern32" else 1.0))
    similar = scope.add("Exp", scope.add("Neg", far))
    if kernel == "matern32":
        similar = scope.add("Mul", similar, scope.add("Add", far, const(1.0)))
    return similar
