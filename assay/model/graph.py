"""A fitted model as a small graph of ONNX nodes with its numbers as arrays: composed first, encoded last.

Families and preparations answer with a `Graph` over one or more named inputs.  Graphs are stored as safetensors plus
JSON (`dump`, `load`) in a trial's checkpoint, joined under prefixes, and turned into ONNX once, when a model is built.

Opsets: ai.onnx 20, ai.onnx.ml 3, IR 10.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.model import wire

OPSET = 20
ML_OPSET = 3
IR_VERSION = 10
ML = "ai.onnx.ml"

# attribute values: int, float, str, list[str], list[int], list[float], or a 1-d array of whole numbers or float32
# (`nodes_modes` of a tree ensemble: int8 codes, see TREE_MODES)
Attribute = Any


@dataclass(frozen=True, eq=False)
class Node:
    """One operator.  inputs/outputs are value names; an empty input name is an omitted optional input."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Attribute]
    domain: str = ""


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in order, constants by name, and the name of the value that is the answer."""

    nodes: tuple[Node, ...]
    tensors: Mapping[str, np.ndarray]
    output: str

    def prefixed(self, prefix: str, keep: Iterable[str] = ()) -> Graph:
        """The same graph with every own name prefixed; names in `keep` (its inputs) stay."""
        kept = set(keep) | {""}

        def name(n: str) -> str:
            return n if n in kept else prefix + n

        nodes = tuple(
            Node(n.op, tuple(map(name, n.inputs)), tuple(map(name, n.outputs)), n.attrs, n.domain) for n in self.nodes
        )
        return Graph(nodes, {name(k): v for k, v in self.tensors.items()}, name(self.output))

    def then(self, other: Graph) -> Graph:
        """This graph followed by one that uses its values.  Names must not clash (use `prefixed`)."""
        clash = self.tensors.keys() & other.tensors.keys()
        if clash:
            raise ValueError(f"constants named twice: {sorted(clash)[:3]}")
        return Graph(self.nodes + other.nodes, {**self.tensors, **other.tensors}, other.output)

    def renamed(self, names: Mapping[str, str]) -> Graph:
        """The same graph with some values under other names."""

        def name(n: str) -> str:
            return names.get(n, n)

        nodes = tuple(
            Node(n.op, tuple(map(name, n.inputs)), tuple(map(name, n.outputs)), n.attrs, n.domain) for n in self.nodes
        )
        return Graph(nodes, {name(k): v for k, v in self.tensors.items()}, name(self.output))


class Scope:
    """Writes a graph: `add` appends a node and returns the name of its (first) output, `const` names an array."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.tensors: dict[str, np.ndarray] = {}
        self._n = 0

    def _fresh(self, stem: str) -> str:
        self._n += 1
        return f"{stem}_{self._n}"

    def add(self, op: str, *inputs: str, domain: str = "", outputs: int = 1, **attrs: Attribute) -> str:
        return self.add_many(op, *inputs, domain=domain, outputs=outputs, **attrs)[0]

    def add_many(self, op: str, *inputs: str, domain: str = "", outputs: int, **attrs: Attribute) -> tuple[str, ...]:
        names = tuple(self._fresh(op.lower()) for _ in range(outputs))
        self.nodes.append(Node(op, tuple(inputs), names, attrs, domain))
        return names

    def const(self, value: Any, dtype: Any = None) -> str:
        """A constant; numpy arrays keep their dtype, Python floats become float32, ints int64."""
        array = np.asarray(value, dtype=dtype)
        if dtype is None and array.dtype == np.float64:
            array = array.astype(np.float32)
        name = self._fresh("c")
        self.tensors[name] = array
        return name

    def include(self, graph: Graph) -> str:
        """Take in a finished graph whose inputs are values of this scope, and return the name of its output."""
        own = {o for n in graph.nodes for o in n.outputs} | set(graph.tensors)
        self._n += 1
        inner = graph.prefixed(f"g{self._n}_", keep={i for n in graph.nodes for i in n.inputs if i not in own})
        self.nodes += inner.nodes
        self.tensors.update(inner.tensors)
        return inner.output

    def graph(self, output: str) -> Graph:
        return Graph(tuple(self.nodes), dict(self.tensors), output)


def dedupe(graph: Graph, keep: Iterable[str] = ()) -> Graph:
    """The same answer with equal constants and equal nodes written once, and without nodes nobody reads.

    Two nodes are equal if operator, attributes and inputs are; so whole sub-graphs that several members share (the
    preparation of a fold) fall together, whatever they were called.  Values in `keep` keep their name and their node.
    """
    kept = set(keep)
    same: dict[str, str] = {}
    seen: dict[object, tuple[str, ...]] = {}
    tensors: dict[str, np.ndarray] = {}
    read = [name for node in graph.nodes for name in node.inputs]
    for name in dict.fromkeys([n for n in (*read, graph.output) if n in graph.tensors]):  # stored order may be any
        array = graph.tensors[name]
        (same[name],) = seen.setdefault(("constant", _fingerprint(array)), (name,))
        tensors.setdefault(same[name], array)
    nodes: list[Node] = []
    for node in graph.nodes:
        inputs = tuple(same.get(i, i) for i in node.inputs)
        attrs = tuple((k, _fingerprint(node.attrs[k])) for k in sorted(node.attrs))
        key = (node.op, node.domain, inputs, len(node.outputs), attrs)
        outputs = node.outputs if kept.intersection(node.outputs) else seen.setdefault(key, node.outputs)
        same |= dict(zip(node.outputs, outputs, strict=True))
        if outputs is node.outputs:
            nodes.append(Node(node.op, inputs, node.outputs, node.attrs, node.domain))
    return _used(Graph(tuple(nodes), tensors, same.get(graph.output, graph.output)), kept)


def _used(graph: Graph, also: set[str]) -> Graph:
    needed, kept = {graph.output} | also, []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    tensors = {k: v for k, v in graph.tensors.items() if k in needed}
    return Graph(tuple(reversed(kept)), tensors, graph.output)


def _fingerprint(value: Attribute) -> object:
    """Something hashable that is equal for equal attribute values and constants."""
    if not isinstance(value, np.ndarray):
        return (type(value).__name__, hashlib.sha256(repr(value).encode("utf-8", "surrogatepass")).digest())
    plain = value.dtype.kind not in "OU"
    content = np.asarray(value, order="C").tobytes() if plain else repr(value.tolist()).encode("utf-8", "surrogatepass")
    return (value.dtype.str if plain else "text", value.shape, hashlib.sha256(content).digest())


def flatten(graph: Graph, prefix: str = "") -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A graph as (JSON-able structure, arrays by name), ready for safetensors.  String tensors go into the JSON."""
    arrays: dict[str, np.ndarray] = {}
    words: dict[str, Any] = {}
    for name, array in graph.tensors.items():
        if array.dtype.kind in "OU":
            words[name] = {"shape": list(array.shape), "values": [str(v) for v in array.ravel()]}
        else:
            arrays[f"{prefix}t/{name}"] = np.asarray(array, order="C")
    nodes = []
    for i, node in enumerate(graph.nodes):
        attrs: dict[str, Any] = {}
        for key, value in node.attrs.items():
            if isinstance(value, np.ndarray):
                arrays[f"{prefix}a/{i}/{key}"] = np.asarray(value, order="C")
                attrs[key] = {"$array": f"a/{i}/{key}"}
            else:
                attrs[key] = value
        nodes.append([node.op, list(node.inputs), list(node.outputs), attrs, node.domain])
    return {"nodes": nodes, "words": words, "output": graph.output}, arrays


def unflatten(structure: Mapping[str, Any], arrays: Mapping[str, np.ndarray], prefix: str = "") -> Graph:
    """The inverse of `flatten`."""
    tensors: dict[str, np.ndarray] = {
        name: np.array(w["values"], dtype=object).reshape(w["shape"]) for name, w in structure["words"].items()
    }
    head = f"{prefix}t/"
    tensors |= {name[len(head) :]: array for name, array in arrays.items() if name.startswith(head)}
    nodes = []
    for op, inputs, outputs, attrs, domain in structure["nodes"]:
        full = {k: arrays[prefix + v["$array"]] if isinstance(v, dict) else v for k, v in attrs.items()}
        nodes.append(Node(op, tuple(inputs), tuple(outputs), full, domain))
    return Graph(tuple(nodes), tensors, structure["output"])


@dataclass(frozen=True)
class Port:
    """An input or output of an encoded model.  dtype: "float32", "int64", "int32", "uint8" or "string"; None in shape is free."""

    name: str
    dtype: str
    shape: Sequence[int | str | None]


def encode(
    graph: Graph, inputs: Sequence[Port], outputs: Sequence[Port], metadata: Mapping[str, str] | None = None
) -> bytes:
    """The graph as a serialised ONNX model.  Every output port names a value of the graph."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kinds = {
        "float32": TensorProto.FLOAT,
        "int64": TensorProto.INT64,
        "int32": TensorProto.INT32,
        "uint8": TensorProto.UINT8,
        "string": TensorProto.STRING,
    }

    def info(p: Port) -> Any:
        return helper.make_tensor_value_info(p.name, kinds[p.dtype], list(p.shape))

    body = helper.make_graph([], "assay", [info(p) for p in inputs], [info(p) for p in outputs])
    pieces = [body.SerializeToString()]
    pieces += [wire.delimited(_GRAPH_NODE, _node(n)) for n in graph.nodes]
    for name, array in graph.tensors.items():
        tensor = numpy_helper.from_array(np.asarray(array), name)
        pieces.append(wire.delimited(_GRAPH_INITIALIZER, tensor.SerializeToString()))
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, ML_OPSET)]
    model = onnx.ModelProto(ir_version=IR_VERSION, producer_name="assay", opset_import=opsets)
    helper.set_model_props(model, dict(metadata or {}))
    encoded = bytes(model.SerializeToString()) + wire.delimited(_MODEL_GRAPH, b"".join(pieces))
    onnx.checker.check_model(encoded)
    return encoded


# field numbers of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto)
_MODEL_GRAPH, _GRAPH_NODE, _GRAPH_INITIALIZER, _NODE_ATTRIBUTE = 7, 1, 5, 5
_FLOATS, _INTS, _STRINGS = 7, 8, 9
TREE_MODES = (b"LEAF", b"BRANCH_LEQ")  # what the int8 codes of a tree ensemble's `nodes_modes` stand for


def _node(node: Node) -> bytes:
    from onnx import helper

    plain = {k: v for k, v in node.attrs.items() if not isinstance(v, np.ndarray)}
    proto = helper.make_node(node.op, list(node.inputs), list(node.outputs), domain=node.domain or None, **plain)
    arrays = [(k, v) for k, v in node.attrs.items() if isinstance(v, np.ndarray)]
    written = [wire.delimited(_NODE_ATTRIBUTE, _array_attribute(name, array)) for name, array in arrays]
    return bytes(proto.SerializeToString()) + b"".join(written)


def _array_attribute(name: str, array: np.ndarray) -> bytes:
    from onnx import AttributeProto

    def of(kind: AttributeProto.AttributeType) -> bytes:
        return bytes(AttributeProto(name=name, type=kind).SerializeToString())

    if name == "nodes_modes":
        return of(AttributeProto.STRINGS) + wire.texts(_STRINGS, TREE_MODES, array)
    if array.dtype.kind == "f":
        return of(AttributeProto.FLOATS) + wire.packed_floats(_FLOATS, array)
    if array.size and array.min() < 0:
        return bytes(AttributeProto(name=name, type=AttributeProto.INTS, ints=array.tolist()).SerializeToString())
    return of(AttributeProto.INTS) + wire.packed_ints(_INTS, array)


def dumps(structure: Mapping[str, Any]) -> str:
    """Compact JSON of a flattened structure, for safetensors metadata (text to text only)."""
    return json.dumps(structure, separators=(",", ":"))
