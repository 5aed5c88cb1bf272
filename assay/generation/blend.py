"""Several generators of rows as one graph: every row is drawn from one of them, by one more uniform number.

A mixture is nearer to the data than its parts are on the mean (the logarithmic loss is convex, and so is the share of rows
that can be told from real ones), and what is learned from its rows is, as with bagged predictors, what the parts agree on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from assay.generation.compose import Composed, Shape, finished
from assay.generation.parts import cut
from assay.model.graph import Scope


def blend(parts: Sequence[Composed]) -> Composed:
    """One graph over the inputs of all; they share their random numbers, since a row needs those of one part only.

    parts: of the same columns, learned from the same rows; one comes back as it is.
    """
    if len(parts) == 1:
        return parts[0]
    scope = Scope()
    widths = {name: max(_width(p, name) for p in parts) for name in ("noise", "uniform")}
    first = parts[0]
    which = scope.add("Mul", cut(scope, "uniform", widths["uniform"], 1), scope.const(np.float32(len(parts))))
    which = scope.add("Min", scope.add("Floor", which), scope.const(np.float32(len(parts) - 1)))
    found: dict[str, str] = {}
    for i, part in enumerate(parts):
        columns = _included(scope, part, i)
        is_this = scope.add("Equal", which, scope.const(np.float32(i)))  # (N, 1)
        is_row = scope.add("Squeeze", is_this, scope.const([1]))
        for name, value in columns.items():
            chosen = is_row if part.ports[name][0] == "string" else is_this
            found[name] = scope.add("Where", chosen, value, found[name]) if name in found else value
    outputs = {name: scope.add("Identity", value) for name, value in found.items()}
    inputs: dict[str, tuple[str, Shape]] = {}
    if widths["noise"]:
        inputs["noise"] = ("float32", ("N", widths["noise"]))
    inputs["uniform"] = ("float32", ("N", widths["uniform"] + 1))
    if "given" in first.inputs:
        inputs["given"] = ("int64", ("N",))
    names = {v: next(p.spec["names"][v] for p in parts if v in p.inputs) for v in inputs}
    told: dict[str, Any] = {v: {"name": names[v]} for v in inputs}
    for v in told.keys() - {"given"}:
        told[v]["width"] = inputs[v][1][1]
    spec = {**first.spec, "names": names, "inputs": told}
    return Composed(finished(scope, outputs), outputs, dict(first.ports), inputs, spec)


def _width(part: Composed, name: str) -> int:
    shape = part.inputs.get(name, ("", ("N", 0)))[1]
    return int(shape[1] or 0)


def _included(scope: Scope, part: Composed, i: int) -> dict[str, str]:
    """The columns a part draws, as values of the scope."""
    prefix = f"p{i}_"
    inner = part.graph.prefixed(prefix, keep=part.inputs)
    own = {name: cut(scope, name, 0, _width(part, name)) for name in ("noise", "uniform") if name in part.inputs}
    inner = inner.renamed(own)
    scope.nodes += inner.nodes
    scope.tensors.update(inner.tensors)
    return {name: prefix + value for name, value in part.outputs.items()}
