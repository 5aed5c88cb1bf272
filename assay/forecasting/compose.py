"""Members into the one delivered graph: the code of a series and its window in, points and quantiles out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from assay.forecasting.blend import Blend
from assay.forecasting.known import Effects
from assay.model.compose import attention
from assay.model.graph import Graph, Port, Scope, dedupe, encode

SERIES, WINDOW, KNOWN = "series", "window", "known"
VALUE, QUANTILES = "value", "quantiles"
ATTENTION = "attention_steps"  # float32 [N, width], sums to 1: only of models with a member that attends


def forecast_graph(
    members: Sequence[Graph],
    blend: Blend,
    offsets: np.ndarray,
    season: int,
    width: int,
    near: int,
    nonnegative: bool,
    effects: Effects | None = None,
) -> Graph:
    """members: graphs over "x", float32 [N, 1 + width].  offsets: (h, q), see `assay.forecasting.spread`, in units of the
    scale of the last `near` values.  effects: of known columns, taken off the window and added to the answer."""
    scope = Scope()
    late = scope.add("Slice", WINDOW, scope.const([width - near]), scope.const([width]), scope.const([1]))
    scale = emit_scale(scope, late, season, near)
    code = scope.add("Unsqueeze", scope.add("Cast", SERIES, to=1), scope.const([1]))
    values = WINDOW
    if effects is not None:
        every = effects.emit(scope, KNOWN, SERIES, scale)
        end = scope.const([width])
        values = scope.add("Sub", WINDOW, scope.add("Slice", every, scope.const([0]), end, scope.const([1])))
        lift = scope.add("Slice", every, end, scope.const([width + len(offsets)]), scope.const([1]))
    x = scope.add("Concat", code, values, axis=1)
    point = blend.emit(scope, [scope.include(graph.renamed({"x": x})) for graph in members])
    if effects is not None:
        point = scope.add("Add", point, lift)
    if nonnegative:
        point = scope.add("Relu", point)
    wide = scope.add(
        "Mul", scope.add("Unsqueeze", scale, scope.const([2])), scope.const(offsets[None].astype(np.float32))
    )
    quantiles = scope.add("Add", scope.add("Unsqueeze", point, scope.const([2])), wide)
    if nonnegative:
        quantiles = scope.add("Relu", quantiles)
    names = {point: VALUE, quantiles: QUANTILES, **{value: name for name, value in attention(scope).items()}}
    return dedupe(scope.graph(quantiles).renamed(names), keep=names.values())


def emit_scale(scope: Scope, window: str, season: int, width: int) -> str:
    """float32 [N, 1]: `assay.forecasting.spread.window_scale` as nodes."""
    floor = scope.add("ReduceMax", scope.add("Abs", window), scope.const([1]), keepdims=1)
    floor = scope.add("Max", scope.add("Mul", floor, scope.const(np.float32(1e-6))), scope.const(np.float32(1e-6)))
    m = season if width > season else 1
    if width <= m:
        return floor
    late = scope.add("Slice", window, scope.const([m]), scope.const([width]), scope.const([1]))
    early = scope.add("Slice", window, scope.const([0]), scope.const([width - m]), scope.const([1]))
    mean = scope.add("ReduceMean", scope.add("Abs", scope.add("Sub", late, early)), scope.const([1]), keepdims=1)
    return scope.add("Max", mean, floor)


def encoded(graph: Graph, width: int, horizon: int, levels: int, about: dict[str, str], known: int = 0) -> bytes:
    """The bytes of the graph; it answers where its members attend, too, if any does.  known: columns whose future is known."""
    inputs = [Port(SERIES, "int64", [None]), Port(WINDOW, "float32", [None, width])]
    if known:
        inputs.append(Port(KNOWN, "float32", [None, width + horizon, known]))
    outputs = [Port(VALUE, "float32", [None, horizon]), Port(QUANTILES, "float32", [None, horizon, levels])]
    if ATTENTION in {o for node in graph.nodes for o in node.outputs}:
        outputs.append(Port(ATTENTION, "float32", [None, width]))
    return encode(graph, inputs, outputs, about)
