"""A fitted generator as the one graph that is judged and delivered, with what the manifest says of drawing from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.generation.columns import RowCoder
from assay.generation.parts import Inputs, cut
from assay.generation.retell import Retelling
from assay.model.graph import Graph, Port, Scope, dedupe, encode

Shape = tuple[int | str | None, ...]


@dataclass(frozen=True, eq=False)
class Composed:
    """A graph over the values `noise`, `uniform`, `given` and, with a loop, `picture_so_far` and `at`.

    outputs: the value behind each public name; ports: dtype and shape of each; inputs: of the graph, by value.  spec:
    `info.generation` of the manifest, whose names are those of the encoded graph.
    """

    graph: Graph
    outputs: Mapping[str, str]
    ports: Mapping[str, tuple[str, Shape]]
    inputs: Mapping[str, tuple[str, Shape]]
    spec: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """All but the graph."""
        return {
            "outputs": dict(self.outputs), "ports": {k: [d, list(s)] for k, (d, s) in self.ports.items()},
            "inputs": {k: [d, list(s)] for k, (d, s) in self.inputs.items()}, "spec": dict(self.spec),
        }  # fmt: skip

    @staticmethod
    def from_json(graph: Graph, data: Mapping[str, Any]) -> Composed:
        ports, inputs = ({k: (d, tuple(s)) for k, (d, s) in data[name].items()} for name in ("ports", "inputs"))
        return Composed(graph, data["outputs"], ports, inputs, data["spec"])

    def encoded(self, metadata: Mapping[str, str] | None = None) -> bytes:
        """Serialised ONNX."""
        named = {v: self.spec["names"][v] for v in self.inputs} | {v: p for p, v in self.outputs.items()}
        own = {o for n in self.graph.nodes for o in n.outputs} | set(self.graph.tensors)
        prefix = ""
        while set(named.values()) & {prefix + n for n in own}:
            prefix += "_"
        inner = self.graph.prefixed(prefix, keep=self.inputs)
        graph = inner.renamed({v if v in self.inputs else prefix + v: name for v, name in named.items()})
        ports = [Port(self.spec["names"][v], dtype, shape) for v, (dtype, shape) in self.inputs.items()]
        return encode(graph, ports, [Port(p, *self.ports[p]) for p in self.outputs], metadata)


def compose_rows(coder: RowCoder, generator: Any, retelling: Retelling | None = None) -> Composed:
    """noise, uniform, given -> every column.  retelling: what the target of a row becomes, see there."""
    scope = Scope()
    drawn = generator.emit(Inputs(scope, "noise", "uniform", "given"))
    rest = cut(scope, "uniform", generator.uniform, coder.n_uniform)
    own = generator.uniform + coder.n_uniform
    more = retelling.uniform if retelling else 0

    def again(cells: str) -> tuple[str, str, bool]:
        assert retelling is not None
        return retelling.emit(scope, cells, cut(scope, "uniform", own, more))

    columns = coder.emit(scope, drawn.codes, drawn.numbers, rest, drawn.raw, again if retelling else None)
    outputs = {c.name: scope.add("Identity", columns[c.name]) for c in coder.columns}
    ports: dict[str, tuple[str, Shape]] = {
        c.name: ("string", ("N",)) if c.form == "word" else ("float32", ("N", 1)) for c in coder.columns
    }
    conditional = coder.layout.target is not None
    inputs = _inputs(generator.noise, own + more, conditional)
    names = _names(inputs, outputs)
    spec = {
        "data": "rows",
        "names": names,
        "inputs": _spec_inputs(inputs, names),
        "columns": [{**c.to_json(), "output": c.name} for c in coder.columns],
        "condition": {"column": coder.columns[0].name, "values": dict(coder.conditions())} if conditional else None,
        "loop": None,
    }
    return Composed(finished(scope, outputs), outputs, ports, inputs, spec)


def compose_pictures(
    generator: Any, size: int, channels: int, labels: Sequence[str], column: str | None, shares: np.ndarray
) -> Composed:
    """noise, uniform, given -> `image` uint8 [N, S, S, 3], and `label`, the code of the condition.

    A generator that draws value by value answers `next` too, and the manifest declares the loop.  labels: values of the
    condition column, none without one; shares: how often each is drawn when nothing is given.
    """
    scope = Scope()
    conditional = len(labels) > 0
    label = ""
    if conditional:
        from assay.generation.parts import or_given, pick

        cumulated = scope.const(np.cumsum(shares)[None, :-1].astype(np.float32))
        label = or_given(scope, "given", pick(scope, cumulated, cut(scope, "uniform", 0, 1)))
    else:
        rows = scope.add("Slice", scope.add("Shape", "uniform"), scope.const([0]), scope.const([1]))
        label = scope.add("Expand", scope.const(np.array([0], np.int64)), rows)
    width = 1 + generator.uniform
    inside = Inputs(scope, "noise", "uniform", label, start=1)
    inputs = _inputs(generator.noise, width, conditional)
    loop: dict[str, Any] | None = None
    outputs: dict[str, str] = {}
    ports: dict[str, tuple[str, Shape]] = {"image": ("uint8", ("N", size, size, 3)), "label": ("int64", ("N",))}
    if hasattr(generator, "emit_step"):
        step = generator.emit_step(inside, "picture_so_far", "at")
        shape = generator.shape
        inputs |= {"picture_so_far": ("int64", ("N", *shape)), "at": ("int64", (1,))}
        outputs["next"] = scope.add("Identity", step.next)
        ports["next"] = ("int64", ("N", *shape))
        loop = {"kind": "raster", "steps": generator.steps, "shape": list(shape), "next": "next"}
        picture = step.picture
    else:
        values = scope.add("Round", generator.emit(inside))
        clipped = scope.add("Clip", values, scope.const(np.float32(0)), scope.const(np.float32(255)))
        picture = scope.add("Cast", clipped, to=2)
    if channels == 1:
        # ai.onnx Expand of uint8 is not everywhere: three times the same is
        picture = scope.add("Concat", picture, picture, picture, axis=3)
    outputs |= {"image": scope.add("Identity", picture), "label": scope.add("Identity", label)}
    names = _names(inputs, outputs)
    if loop is not None:
        loop |= {"image": names["picture_so_far"], "at": names["at"]}
    spec = {
        "data": "images", "names": names, "inputs": _spec_inputs(inputs, names), "columns": [], "size": size,
        "image": "image", "label": "label",
        "condition": {"column": column, "values": {v: i for i, v in enumerate(labels)}} if conditional else None,
        "loop": loop,
    }  # fmt: skip
    return Composed(finished(scope, outputs), outputs, ports, inputs, spec)


def _inputs(noise: int, uniform: int, conditional: bool) -> dict[str, tuple[str, Shape]]:
    found: dict[str, tuple[str, Shape]] = {}
    if noise:
        found["noise"] = ("float32", ("N", noise))
    found["uniform"] = ("float32", ("N", uniform))
    if conditional:
        found["given"] = ("int64", ("N",))
    return found


def _names(inputs: Collection[str], outputs: Collection[str]) -> dict[str, str]:
    names = {v: v for v in inputs}
    for v in names:
        while names[v] in outputs:
            names[v] += "_in"
    return names


def _spec_inputs(inputs: Mapping[str, tuple[str, Shape]], names: Mapping[str, str]) -> dict[str, Any]:
    return {
        v: {"name": names[v]} | ({"width": inputs[v][1][1]} if v != "given" else {})
        for v in ("noise", "uniform", "given")
        if v in inputs
    }


def finished(scope: Scope, outputs: Mapping[str, str]) -> Graph:
    """The graph of a scope, nothing written twice, with these values in it."""
    values = list(outputs.values())
    return dedupe(scope.graph(values[-1]), keep=values)


def session(onnx: bytes, threads: int = 1) -> Any:
    """A function of output names and feeds, for `assay.generation.draw`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    opened = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    return lambda names, feeds: opened.run(list(names), dict(feeds))
