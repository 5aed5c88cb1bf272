"""Fold models into members, members into the one delivered graph: raw columns in, answer out.

Until the last step a raw column `age` is the value `raw:age`, a name no operator's value can have; `model_bytes` gives
columns and answers their public names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from assay.data.fronts import Front
from assay.data.table import ColumnType, Table
from assay.families import Predictor, Prepares
from assay.model.correct import FLOOR, Correction, softmax
from assay.model.graph import ML, Graph, Port, Scope, dedupe, encode

RAW = "raw:"
ATTENDS = re.compile(r"(attention_[a-z]+)\.\d+$")
Decision = float | tuple[float, ...] | None  # how a class is answered: see `ensemble_graph`

_NUMERIC = frozenset({ColumnType.NUMBER, ColumnType.INTEGER})


@dataclass(frozen=True, eq=False)
class FoldModel:
    """A predictor with its preparation.  y_mean, y_std undo the scaling of regression targets."""

    preparation: Prepares
    predictor: Predictor
    y_mean: float | np.ndarray = 0.0
    y_std: float | np.ndarray = 1.0
    weight: float = 1.0

    def predict(self, table: Table) -> np.ndarray:
        """Class probabilities or the target in its own unit.  float64 (n, k)."""
        scaled = np.asarray(self.predictor.predict(self.preparation.transform(table)), np.float64)
        return scaled * self.y_std + self.y_mean

    @cached_property
    def graph(self) -> Graph:
        """The same from the values `raw:<column>` to [N, k]."""
        scope = Scope()
        matrix = scope.include(self.preparation.to_onnx({c: RAW + c for c in self.preparation.columns}))
        out = scope.include(self.predictor.to_onnx(matrix))
        if np.any(self.y_std != 1.0):
            out = scope.add("Mul", out, scope.const(np.asarray(self.y_std, np.float32)))
        if np.any(self.y_mean != 0.0):
            out = scope.add("Add", out, scope.const(np.asarray(self.y_mean, np.float32)))
        return scope.graph(out)


def predict_member(folds: Sequence[FoldModel], table: Table) -> np.ndarray:
    """What `member_graph` answers, computed by the fitted predictors themselves.  float64 (n, k)."""
    return _mean([f.predict(table) for f in folds], [f.weight for f in folds])


def member_graph(folds: Sequence[FoldModel]) -> Graph:
    """The weighted mean of the fold models, from the values `raw:<column>` to [N, k]."""
    scope = Scope()
    outputs = [scope.include(fold.graph) for fold in folds]
    return dedupe(scope.graph(_add_mean(scope, outputs, [f.weight for f in folds])))


def combine(
    predictions: Sequence[np.ndarray],
    weights: Sequence[float],
    n_classes: int,
    temperature: float = 1.0,
    exponents: Sequence[float] | None = None,
) -> np.ndarray:
    """What `ensemble_graph` answers, from the members' predictions (n, k) each.  float64 (n, k)."""
    if exponents is not None:
        return pooled(np.stack([np.log(np.clip(p, FLOOR, 1.0)) for p in predictions]), np.asarray(exponents))
    mean = _mean(predictions, weights)
    if not n_classes:
        return mean
    if temperature != 1.0:
        mean = np.clip(mean, FLOOR, 1.0) ** (1.0 / temperature)
    clipped = np.clip(mean, 0.0, None)
    return np.asarray(clipped / np.maximum(clipped.sum(1, keepdims=True), FLOOR))


def pooled(logs: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """The logarithmic opinion pool: the product of probabilities to the power of exponents (m,), normalised.

    logs: log-probabilities (m, n, k).  Genest, Zidek: Combining Probability Distributions, a Critique and an Annotated
    Bibliography.  Statistical Science 1, 1986.
    """
    return softmax(np.tensordot(exponents, logs, 1))


def weighed(probabilities: np.ndarray, factors: Sequence[float]) -> np.ndarray:
    """What is compared where every class has a factor."""
    return np.asarray(probabilities * np.asarray(factors, np.float32))


def decide(probabilities: np.ndarray, threshold: Decision = None) -> np.ndarray:
    """The class codes the delivered graph answers.  int64 (n,)."""
    if threshold is None:
        return np.asarray(probabilities.argmax(1))
    if isinstance(threshold, tuple):
        return np.asarray(weighed(probabilities, threshold).argmax(1))
    return (probabilities[:, 1] >= threshold).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Delivered:
    """A finished graph over `raw:<column>` values.  outputs: the value behind each public name; classes: in order.

    ports: dtype and shape of outputs other than `label`, `probabilities` and a `value` of one column.
    """

    graph: Graph
    outputs: Mapping[str, str]
    classes: tuple[str, ...]
    ports: Mapping[str, tuple[str, tuple[int | str | None, ...]]] = field(default_factory=dict)


def ensemble_graph(
    members: Sequence[Graph],
    weights: Sequence[float],
    classes: Sequence[str] = (),
    temperature: float = 1.0,
    threshold: Decision = None,
    n_targets: int = 1,
    exponents: Sequence[float] | None = None,
    correction: Correction | None = None,
) -> Delivered:
    """The weighted mean of members as the answer: `label` and `probabilities`, or `value` when there are no classes.

    temperature: probabilities to the power 1/T, then normalised (Guo, Pleiss, Sun, Weinberger, "On Calibration of
    Modern Neural Networks", ICML 2017).  exponents: the members' product instead of their mean, see `pooled`.  correction: of
    what either of them says.  threshold:
    with two classes, the second is answered from this probability on; with more, a tuple has a factor for the probability
    of each before they are compared; None
    answers the most probable class.  Nodes that members share are written once.
    """
    scope = Scope()
    answers = [scope.include(m) for m in members]
    mean = _add_mean(scope, answers, weights) if exponents is None else ""
    shown = attention(scope)
    ports: dict[str, tuple[str, tuple[int | str | None, ...]]] = {n: ("float32", ("N", f"{n}_tokens")) for n in shown}
    if not classes:
        value = (
            scope.add("Identity", mean) if correction is None else correction.add_to(scope, mean, answers, len(classes))
        )
        outputs = {**shown, "value": value}
        ports["value"] = ("float32", ("N", n_targets))
        return Delivered(dedupe(scope.graph(value), keep=outputs.values()), outputs, (), ports)
    if exponents is not None:
        logs = [
            scope.add(
                "Mul",
                scope.add("Log", scope.add("Clip", a, scope.const(np.float32(FLOOR)), scope.const(np.float32(1)))),
                scope.const(np.float32(e)),
            )
            for a, e in zip(answers, exponents, strict=True)
        ]
        probabilities = scope.add("Softmax", logs[0] if len(logs) == 1 else scope.add("Sum", *logs), axis=1)
    elif temperature != 1.0:
        clipped = scope.add("Clip", mean, scope.const(np.float32(FLOOR)), scope.const(np.float32(1)))
        logits = scope.add("Mul", scope.add("Log", clipped), scope.const(np.float32(1 / temperature)))
        probabilities = scope.add("Softmax", logits, axis=1)
    else:
        clipped = scope.add("Max", mean, scope.const(np.float32(0)))
        total = scope.add("ReduceSum", clipped, scope.const(np.array([1], np.int64)), keepdims=1)
        probabilities = scope.add("Div", clipped, scope.add("Max", total, scope.const(np.float32(FLOOR))))
    if correction is not None:
        probabilities = correction.add_to(scope, probabilities, answers, len(classes))
    if threshold is None:
        code = scope.add("ArgMax", probabilities, axis=1, keepdims=0)
    elif isinstance(threshold, tuple):
        factors = scope.const(np.asarray(threshold, np.float32)[None])
        code = scope.add("ArgMax", scope.add("Mul", probabilities, factors), axis=1, keepdims=0)
    else:
        second = scope.add("Gather", probabilities, scope.const(np.int64(1)), axis=1)
        code = scope.add("Cast", scope.add("GreaterOrEqual", second, scope.const(np.float32(threshold))), to=7)
    label = scope.add(
        "LabelEncoder",
        code,
        domain=ML,
        keys_int64s=list(range(len(classes))),
        values_strings=list(classes),
        default_string="",
    )
    outputs = {"label": label, **shown, "probabilities": probabilities}
    return Delivered(dedupe(scope.graph(label), keep=outputs.values()), outputs, tuple(classes), ports)


def attention(scope: Scope) -> dict[str, str]:
    """By public name the mean of what members mark as where they attend in a view of a text, float32 [N, T]: values
    that are called `attention_<view>.<number>`, whatever stands before."""
    found: dict[str, list[str]] = {}
    for name in (o for node in scope.nodes for o in node.outputs):
        marked = ATTENDS.search(name)
        if marked:
            found.setdefault(marked[1], []).append(name)
    return {public: scope.add("Mean", *values) for public, values in found.items()}


def model_bytes(
    delivered: Delivered,
    columns: Mapping[str, ColumnType],
    metadata: Mapping[str, str] | None = None,
    fronts: Mapping[str, Front] | None = None,
) -> tuple[bytes, dict[str, str]]:
    """The delivered graph as serialised ONNX, and the name each answer got in it.

    columns: every input column with its type, in order.  fronts: of columns that have one.  An answer keeps its public name unless a column has the same
    one; then it is called `<name>_out`.
    """
    names = {public: public for public in delivered.outputs}
    for public in names:
        while names[public] in columns:
            names[public] += "_out"
    taken = set(columns) | set(names.values())
    own = {o for n in delivered.graph.nodes for o in n.outputs} | set(delivered.graph.tensors)
    prefix = ""
    while taken & {prefix + n for n in own}:
        prefix += "_"
    inputs = {RAW + c: c for c in columns}
    inner = delivered.graph.prefixed(prefix, keep=inputs)
    answers = {prefix + value: names[public] for public, value in delivered.outputs.items()}
    graph = inner.renamed(inputs | answers)
    ports = [_input(c, kind, (fronts or {}).get(c)) for c, kind in columns.items()]
    shapes: dict[str, tuple[str, tuple[int | str | None, ...]]] = {
        "label": ("string", ("N",)),
        "probabilities": ("float32", ("N", len(delivered.classes))),
        "value": ("float32", ("N", 1)),
        **delivered.ports,
    }
    return encode(graph, ports, [Port(names[p], *shapes[p]) for p in delivered.outputs], metadata), names


def _input(name: str, kind: ColumnType, front: Front | None) -> Port:
    if front is None:
        return Port(name, "float32" if kind in _NUMERIC else "string", ["N", 1])
    return Port(name, front.dtype, ["N", *(f"{name}_{i}" if n is None else n for i, n in enumerate(front.shape))])


def _mean(predictions: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    return np.asarray(np.average([np.asarray(p, np.float64) for p in predictions], axis=0, weights=list(weights)))


def _add_mean(scope: Scope, values: Sequence[str], weights: Sequence[float]) -> str:
    shares = np.asarray(weights, np.float64) / np.sum(weights)
    if len(values) == 1:
        return values[0]
    terms = [scope.add("Mul", v, scope.const(np.float32(s))) for v, s in zip(values, shares, strict=True) if s]
    return terms[0] if len(terms) == 1 else scope.add("Sum", *terms)
