"""Folds into members into one graph: the same answers as the fitted predictors."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from assay.data.prepare import Recipe
from assay.data.table import ColumnType, Table, Words
from assay.model.compose import (
    RAW,
    Delivered,
    combine,
    decide,
    ensemble_graph,
    member_graph,
    model_bytes,
    predict_member,
)
from assay.model.gate import gate_table, raw_feeds
from assay.model.graph import Graph, Node, Scope, dedupe
from tests.model.linear import CLASSES, TYPES, classifiers, people, regressors, terciles

ONEHOT, ROBUST = Recipe("standard", True, "onehot"), Recipe("robust", True, "target", interactions=True)


def run(delivered: Delivered, table: Table) -> list[np.ndarray]:
    model, _ = model_bytes(delivered, {c: ColumnType(t) for c, t in table.types.items()})
    return onnxruntime.InferenceSession(model).run(None, raw_feeds(table))


@pytest.mark.parametrize(("temperature", "exponents"), [(1.0, None), (0.7, None), (2.5, None), (1.0, (0.9, 0.3))])
def test_an_ensemble_of_classifiers_answers_like_its_members(
    temperature: float, exponents: tuple[float, float] | None
) -> None:
    table, signal = people(300)
    codes = terciles(signal)
    members = [classifiers(table, codes, ONEHOT), classifiers(table, codes, ROBUST, folds=2, c=0.1)]
    rows = gate_table(people(400, seed=1)[0], np.random.default_rng(0))
    weights = [0.7, 0.3]
    graphs = [member_graph(m) for m in members]
    label, probabilities = run(ensemble_graph(graphs, weights, CLASSES, temperature, exponents=exponents), rows)
    expected = combine([predict_member(m, rows) for m in members], weights, 3, temperature, exponents)
    assert label.shape == (len(rows),) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities[:400], expected[:400], atol=2e-6)
    np.testing.assert_allclose(probabilities, expected, atol=1e-4)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    assert (label[:400] == np.array(CLASSES, object)[decide(expected)][:400]).all()


def test_an_ensemble_of_regressors_answers_in_the_unit_of_the_target() -> None:
    table, signal = people(300)
    signal = 1000 + 50 * signal
    members = [regressors(table, signal, ONEHOT), regressors(table, signal, ROBUST)]
    (value,) = run(ensemble_graph([member_graph(m) for m in members], [1, 1]), table)
    expected = combine([predict_member(m, table) for m in members], [1, 1], 0)
    assert value.shape == (300, 1)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert np.corrcoef(value[:, 0], signal)[0, 1] > 0.9


def test_preparations_that_members_share_are_written_once() -> None:
    table, signal = people(200)
    codes = terciles(signal)
    one, two = (member_graph(classifiers(table, codes, ONEHOT, c=c)) for c in (1.0, 0.01))
    alone, both = ensemble_graph([one], [1], CLASSES).graph, ensemble_graph([one, two], [1, 1], CLASSES).graph
    assert len(both.nodes) - len(alone.nodes) < 15  # two more Gemm and Softmax per fold, not two more preparations
    dates = [n for n in both.nodes if n.op == "StringSplit"]
    assert len(dates) == 4  # one reading of the one date column for all folds of both members


def test_a_threshold_moves_the_label_only() -> None:
    scope = Scope()
    half = scope.add("Concat", scope.add("Sub", scope.const(np.float32(1)), RAW + "p"), RAW + "p", axis=1)
    member = scope.graph(half)
    table = Table({"p": np.array([0.1, 0.3, 0.5, 0.9])}, {"p": ColumnType.NUMBER})
    label, probabilities = run(ensemble_graph([member], [1], ("no", "yes"), threshold=0.3), table)
    assert label.tolist() == ["no", "yes", "yes", "yes"]
    np.testing.assert_allclose(probabilities[:, 1], [0.1, 0.3, 0.5, 0.9], rtol=1e-6)
    np.testing.assert_array_equal(decide(probabilities.astype(np.float64), 0.29999), [0, 1, 1, 1])


def test_columns_may_be_called_like_answers_and_like_inner_values() -> None:
    names = ("label", "probabilities", "value", "add_1", "c_1", "raw:x", "g1_gemm_1", "größe 漢", "a b")
    rng = np.random.default_rng(0)
    table = Table({n: rng.normal(size=60) for n in names}, dict.fromkeys(names, ColumnType.NUMBER))
    codes = np.arange(60) % 3
    member = member_graph(classifiers(table, codes, Recipe("standard"), folds=2))
    model, outputs = model_bytes(ensemble_graph([member], [1], CLASSES), dict(table.types))
    assert outputs == {"label": "label_out", "probabilities": "probabilities_out"}
    session = onnxruntime.InferenceSession(model)
    assert [i.name for i in session.get_inputs()] == list(names)
    assert [o.name for o in session.get_outputs()] == ["label_out", "probabilities_out"]
    assert session.run(None, raw_feeds(table))[1].shape == (60, 3)


def test_the_graph_keeps_the_promised_form() -> None:
    table, signal = people(100)
    member = member_graph(classifiers(table, terciles(signal), Recipe("robust", True, "drop")))
    model = onnx.load_from_string(model_bytes(ensemble_graph([member], [1], CLASSES), TYPES)[0])
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 10
    assert {(o.domain, o.version) for o in model.opset_import} == {("", 20), ("ai.onnx.ml", 3)}
    session = onnxruntime.InferenceSession(model.SerializeToString())
    ports = [(i.name, i.type, i.shape) for i in session.get_inputs()]
    kinds = ["tensor(float)", "tensor(float)", "tensor(string)", "tensor(string)"]  # unused columns stay inputs
    assert ports == [(c, k, ["N", 1]) for c, k in zip(TYPES, kinds, strict=True)]
    assert [(o.name, o.shape) for o in session.get_outputs()] == [("label", ["N"]), ("probabilities", ["N", 3])]


def test_a_fresh_process_with_onnxruntime_alone_gives_the_same(tmp_path: Path) -> None:
    table, signal = people(150)
    members = [classifiers(table, terciles(signal), ROBUST)]
    delivered = ensemble_graph([member_graph(m) for m in members], [1], CLASSES)
    (tmp_path / "m.onnx").write_bytes(model_bytes(delivered, TYPES)[0])
    feeds = {k: v.ravel().tolist() for k, v in raw_feeds(table).items()}
    (tmp_path / "rows.json").write_text(json.dumps(feeds))
    code = (
        "import json, sys, numpy as np, onnxruntime as o\n"
        "s = o.InferenceSession('m.onnx')\n"
        "d = json.load(open('rows.json'))\n"
        "f = {i.name: np.array(d[i.name], np.float32 if 'float' in i.type else object)[:, None] for i in s.get_inputs()}\n"
        "assert not {'assay', 'sklearn', 'onnx'} & sys.modules.keys()\n"
        "print(json.dumps(s.run(['probabilities'], f)[0].tolist()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    np.testing.assert_allclose(json.loads(done.stdout), predict_member(members[0], table), atol=1e-5)


def test_dedupe_joins_equal_nodes_and_drops_unread_ones() -> None:
    scope = Scope()
    one = scope.add("Add", "x", scope.const(np.float32(2)))
    two = scope.add("Add", "x", scope.const(np.float32(2)))
    three = scope.add("Add", "x", scope.const(np.float32(3)))
    scope.add("Exp", three)
    small = dedupe(scope.graph(scope.add("Mul", one, scope.add("Sub", two, scope.const(np.float64(0))))))
    assert [n.op for n in small.nodes] == ["Add", "Sub", "Mul"]
    assert small.nodes[2].inputs == (small.nodes[0].outputs[0], small.nodes[1].outputs[0])
    assert len(small.tensors) == 2


def test_dedupe_tells_nodes_with_other_attributes_and_constants_of_other_types_apart() -> None:
    lists = tuple(
        Node("LabelEncoder", ("x",), (f"y{i}",), {"keys_strings": keys, "values_int64s": [0]}, "ai.onnx.ml")
        for i, keys in enumerate((["a"], ["b"], ["a"]))
    )
    arrays = tuple(
        Node("F", ("x",), (f"z{i}",), {"a": np.array([i % 2], t)}) for i, t in ((0, "i8"), (1, "i8"), (2, "i4"))
    )
    names = tuple(n.outputs[0] for n in (*lists, *arrays))
    consts = {"c0": np.array([0, 0], np.int64), "c1": np.array([[0, 0]], np.int64), "c2": np.array([0, 0], np.float64)}
    words = {"w0": np.array([["a"]], object), "w1": np.array(["a"], object)}
    graph = Graph((*lists, *arrays, Node("Sum", (*names, *consts, *words), ("out",), {})), consts | words, "out")
    small = dedupe(graph)
    assert len(small.nodes) == 6 and small.nodes[-1].inputs[2] == "y0"
    assert len(small.tensors) == 5


def test_members_with_no_weight_are_not_in_the_graph() -> None:
    table, signal = people(100)
    members = [member_graph(classifiers(table, terciles(signal), ONEHOT, folds=1, c=c)) for c in (1, 0.1)]
    graph = ensemble_graph(members, [1.0, 0.0], CLASSES).graph
    assert sum(n.op == "Gemm" for n in graph.nodes) == 1


def test_words_beyond_utf8_do_not_break_the_comparison_of_nodes() -> None:
    scope = Scope()
    out = scope.add("Identity", scope.const(np.array([["\ud800"]], object)))
    assert len(dedupe(scope.graph(out)).tensors) == 1
    assert Words.of(["\ud800"]).values()[0] == "\ud800"
