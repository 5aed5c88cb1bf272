"""The gate lets right graphs through and stops wrong ones."""

from dataclasses import replace

import numpy as np
import pytest

from assay.data.prepare import Recipe
from assay.data.table import Table, Words
from assay.model.compose import FoldModel, combine, ensemble_graph, member_graph, model_bytes, predict_member
from assay.model.gate import UNSEEN, GateReport, gate_table, raw_feeds, replay, synthetic_rows
from assay.model.graph import Graph, Scope
from tests.model.linear import CLASSES, TYPES, Linear, classifiers, people, regressors, terciles

RECIPE = Recipe("standard", True, "onehot")


def judge(
    folds: list[FoldModel], served: list[FoldModel], table: Table, classes: tuple[str, ...] = CLASSES
) -> GateReport:
    """Replay the graph of `served` against the predictions of `folds`."""
    rows = gate_table(table, np.random.default_rng(0))
    model, _ = model_bytes(ensemble_graph([member_graph(served)], [1], classes), TYPES)
    return replay(model, raw_feeds(rows), combine([predict_member(folds, rows)], [1], len(classes)), classes)


def test_a_right_classifier_and_a_right_regressor_pass() -> None:
    table, signal = people(1500)
    folds = classifiers(table, terciles(signal), RECIPE)
    report = judge(folds, folds, table)
    assert report.passed, report.message
    assert report.n_rows > 1000 and report.max_difference < 1e-5 and report.label_flips == 0
    folds = regressors(table, signal, RECIPE)
    report = judge(folds, folds, table, ())
    assert report.passed, report.message


def test_a_slightly_wrong_weight_is_refused() -> None:
    table, signal = people(300)
    folds = classifiers(table, terciles(signal), RECIPE)
    linear = folds[0].predictor
    assert isinstance(linear, Linear)
    weight = linear.weight.copy()
    weight[0, 0] += 3e-3
    report = judge(folds, [replace(folds[0], predictor=replace(linear, weight=weight)), *folds[1:]], table)
    assert not report.passed and "rows differ" in report.message


def test_a_graph_that_answers_no_number_on_a_hard_row_is_refused() -> None:
    class Fragile(Linear):
        def to_onnx(self, x: str) -> Graph:
            scope = Scope()
            right = scope.include(super().to_onnx(x))
            first = scope.add("Gather", x, scope.const(np.array([0], np.int64)), axis=1)
            beyond = scope.add("Greater", first, scope.const(np.float32(50)))  # true for the huge row only
            return scope.graph(scope.add("Where", beyond, scope.const(np.float32("nan")), right))

    table, signal = people(300)
    folds = regressors(table, signal, RECIPE)
    broken = [replace(f, predictor=Fragile(**vars(f.predictor))) for f in folds]
    report = judge(folds, broken, table, ())
    assert not report.passed and "nan" in report.message


def test_a_graph_that_looks_at_its_neighbours_is_refused() -> None:
    class Nosy(Linear):
        def predict(self, x: np.ndarray) -> np.ndarray:
            out = super().predict(x)
            return out - out.mean()

        def to_onnx(self, x: str) -> Graph:
            scope = Scope()
            out = scope.include(super().to_onnx(x))
            return scope.graph(scope.add("Sub", out, scope.add("ReduceMean", out, keepdims=1)))

    table, signal = people(100)
    folds = [replace(f, predictor=Nosy(**vars(f.predictor))) for f in regressors(table, signal, RECIPE)]
    report = judge(folds, folds, table, ())
    assert not report.passed and "alone differs" in report.message


def test_swapped_class_names_are_refused_and_ties_are_not() -> None:
    table, signal = people(200)
    folds = classifiers(table, terciles(signal), RECIPE)
    rows = gate_table(table, np.random.default_rng(0))
    expected = predict_member(folds, rows)
    model, _ = model_bytes(ensemble_graph([member_graph(folds)], [1], ("mid", "low", "high")), TYPES)
    report = replay(model, raw_feeds(rows), expected, CLASSES)
    assert not report.passed and "another label" in report.message and report.label_flips > 50

    scope = Scope()
    n = scope.add("Shape", "raw:age", start=0, end=1)
    shape = scope.add("Concat", n, scope.const(np.array([2], np.int64)), axis=0)
    even = scope.graph(scope.add("Expand", scope.const(np.array([[0.499999, 0.500001]], np.float32)), shape))
    model, _ = model_bytes(ensemble_graph([even], [1], ("no", "yes")), TYPES)
    assert replay(model, raw_feeds(rows), np.full((len(rows), 2), 0.5), ("no", "yes")).passed


def test_another_number_of_classes_is_refused() -> None:
    table, signal = people(80)
    folds = classifiers(table, terciles(signal), RECIPE)
    rows = gate_table(table, np.random.default_rng(0))
    model, _ = model_bytes(ensemble_graph([member_graph(folds)], [1], CLASSES), TYPES)
    report = replay(model, raw_feeds(rows), np.full((len(rows), 4), 0.25), (*CLASSES, "more"))
    assert not report.passed and "the graph answers" in report.message


def test_gate_rows_are_the_same_for_the_same_seed_and_hold_the_hard_cases() -> None:
    table, _ = people(3000)
    one, two = (gate_table(table, np.random.default_rng(7), n=1000) for _ in range(2))
    for name in table.names:
        a, b = ((c.values() if isinstance(c, Words) else c) for c in (one.columns[name], two.columns[name]))
        assert all(x == y or x != x for x, y in zip(a, b, strict=True))
    hard = synthetic_rows(table, np.random.default_rng(0))
    assert len(one) == 1000 + len(hard)
    assert np.isnan(hard.numbers("age")[0]) and hard.words("town").codes[0] == -1 and hard.words("since").codes[0] == -1
    assert hard.numbers("age")[1] == 1e300 and UNSEEN in hard.words("town").values()


def test_an_empty_table_still_has_hard_rows() -> None:
    table, _ = people(5)
    rows = gate_table(table.take(np.empty(0, np.int64)), np.random.default_rng(0))
    assert len(rows) == 8


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_regression_differences_are_measured_in_the_unit_of_the_target(scale: float) -> None:
    table, signal = people(200)
    folds = regressors(table, signal * scale, RECIPE)
    rows = gate_table(table, np.random.default_rng(0))
    model, _ = model_bytes(ensemble_graph([member_graph(folds)], [1]), TYPES)
    expected = combine([predict_member(folds, rows)], [1], 0)
    assert replay(model, raw_feeds(rows), expected, scale=scale).passed
    assert not replay(model, raw_feeds(rows), expected + 1e-3 * scale, scale=scale).passed
