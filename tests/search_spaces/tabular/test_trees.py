"""Trees of every library route rows in ONNX exactly as at home."""

from __future__ import annotations

import numpy as np
import pytest

from assay.families import Predictor, Split, Target
from assay.model.graph import Scope, flatten, unflatten
from assay.model.trees import BLOCK, Forest, Tree, add_forest, floor32
from assay.testing.context import ToyContext
from assay.testing.families import run_graph
from search_spaces.tabular import catboost, decision_tree, extra_trees, lightgbm, random_forest

FAMILIES = [decision_tree.family, random_forest.family, extra_trees.family, lightgbm.family, catboost.family]


def stump(threshold: float, left: float, right: float, *, missing_left: bool, output: int = 0) -> Tree:
    return Tree(
        feature=np.array([0, 0, 0]),
        threshold=np.array([threshold, 0.0, 0.0]),
        left=np.array([1, -1, -1]),
        right=np.array([2, -1, -1]),
        missing_left=np.array([missing_left, False, False]),
        value=np.array([[0.0], [left], [right]]),
        first_output=output,
    )


def answer(forest: Forest, x: np.ndarray) -> np.ndarray:
    scope = Scope()
    return run_graph(scope.graph(add_forest(scope, forest, "x")), x)


def test_floor32_never_lets_a_row_change_sides() -> None:
    rng = np.random.default_rng(0)
    thresholds = np.concatenate([rng.normal(size=2000), rng.normal(size=500) * 1e-30, [0.1, -0.1, 1e300, -1e300, 0.0]])
    floored = floor32(thresholds)
    assert (floored.astype(np.float64) <= thresholds).all()
    with np.errstate(over="ignore"):
        around = (floored, np.nextafter(floored, np.float32(np.inf)), np.nextafter(floored, np.float32(-np.inf)))
    for x in around:
        np.testing.assert_array_equal(x.astype(np.float64) <= thresholds, x <= floored)


@pytest.mark.parametrize("missing_left", [True, False])
def test_a_stump_sends_low_high_and_missing_rows_where_it_says(missing_left: bool) -> None:
    x = np.array([[0.5], [0.50001], [np.nan], [-np.inf], [np.inf]], dtype=np.float32)
    got = answer(Forest((stump(0.5, 1.0, 2.0, missing_left=missing_left),), np.zeros(1)), x)
    np.testing.assert_array_equal(got[:, 0], [1.0, 2.0, 1.0 if missing_left else 2.0, 1.0, 2.0])


def test_many_trees_are_summed_in_blocks_without_losing_digits() -> None:
    n = 3 * BLOCK + 7
    trees = tuple(stump(0.0, 0.1, -0.1, missing_left=True, output=i % 2) for i in range(n))
    got = answer(Forest(trees, np.array([1.0, 2.0])), np.array([[-1.0]], dtype=np.float32))
    expected = [1.0 + 0.1 * ((n + 1) // 2), 2.0 + 0.1 * (n // 2)]
    np.testing.assert_allclose(got[0], expected, rtol=2e-6)


def test_a_forest_of_leaves_and_an_empty_forest_answer_constants() -> None:
    x = np.zeros((3, 2), dtype=np.float32)
    leaf = Tree(*(np.array([v]) for v in (0, 0.0, -1, -1, False)), value=np.array([[2.5]]))
    np.testing.assert_array_equal(answer(Forest((leaf,), np.array([1.0])), x), np.full((3, 1), 3.5, np.float32))
    np.testing.assert_array_equal(answer(Forest((), np.array([1.0, 2.0])), x), np.tile([1.0, 2.0], (3, 1)))


def rounded_split(kind: str, n: int = 1500) -> Split:
    """Two-decimal values with gaps in training: thresholds fall between, and on, many equal values."""
    rng = np.random.default_rng(7)
    x = np.round(rng.normal(size=(n, 6)), 2)
    signal = x[:, 0] + np.sin(2 * x[:, 1]) + x[:, 2] * x[:, 3]
    x[rng.random(x.shape) < 0.1] = np.nan
    x[:, 5] = np.where(np.isnan(x[:, 5]), 0.0, x[:, 5])  # a column whose gaps appear only later
    x = x.astype(np.float32)
    if kind == "regression":
        y, target = (signal - signal.mean()) / signal.std(), Target(kind)
    else:
        edges = [0.0] if kind == "binary" else [-0.8, 0.8]
        y, target = np.digitize(signal, edges), Target(kind, len(edges) + 1)
    half = n // 2
    return Split(x[:half], y[:half], x[half:], y[half:], target)


def hard_rows(split: Split) -> np.ndarray:
    """Unseen rows; rows with many gaps, in every column; far values; and the training rows stepped by one float32."""
    rng = np.random.default_rng(8)
    gaps = split.x_valid.copy()
    gaps[rng.random(gaps.shape) < 0.5] = np.nan
    far = np.array([[1e30] * 6, [-1e30] * 6, [np.inf] * 6, [-np.inf] * 6, [0.0] * 6], dtype=np.float32)
    up, down = (np.nextafter(split.x, np.float32(to)) for to in (np.inf, -np.inf))
    return np.concatenate([split.x_valid, gaps, far, split.x, up, down])


def fitted(family: object, split: Split, **config: object) -> Predictor:
    return family.fit(family.Config(**config), split, ToyContext(max_steps=60))  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_no_row_takes_another_way_in_onnx(family: object, kind: str) -> None:
    split = rounded_split(kind)
    rows = hard_rows(split)
    predictor = fitted(family, split)
    graph = predictor.to_onnx("x")
    gap = np.abs(run_graph(graph, rows) - predictor.predict(rows)).max()
    assert gap < 2e-6, f"largest difference {gap:.1e}"


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_depthwise_catboost_exports_too(kind: str) -> None:
    split = rounded_split(kind)
    predictor = fitted(catboost.family, split, grow_policy="Depthwise", bootstrap="Bayesian")
    rows = hard_rows(split)
    np.testing.assert_allclose(run_graph(predictor.to_onnx("x"), rows), predictor.predict(rows), atol=2e-6)


def test_lightgbm_reads_missing_as_zero_where_training_had_none() -> None:
    split = rounded_split("regression")
    full = Split(np.nan_to_num(split.x), split.y, np.nan_to_num(split.x_valid), split.y_valid, split.target)
    predictor = fitted(lightgbm.family, full)
    gaps, zeros = hard_rows(split), np.nan_to_num(hard_rows(split), posinf=np.inf, neginf=-np.inf)
    np.testing.assert_array_equal(predictor.predict(gaps), predictor.predict(zeros))
    np.testing.assert_allclose(run_graph(predictor.to_onnx("x"), gaps), predictor.predict(zeros), atol=2e-6)


def test_the_libraries_own_probabilities_are_ours() -> None:
    split = rounded_split("multiclass")
    from sklearn.ensemble import RandomForestClassifier

    config = random_forest.family.Config()
    own = fitted(random_forest.family, split).predict(split.x_valid)
    plain = RandomForestClassifier(
        60, criterion=config.criterion, max_features=config.max_features, min_samples_leaf=config.min_samples_leaf,
        max_leaf_nodes=len(split.y) // 2, max_samples=1.0, random_state=0, n_jobs=1,
    ).fit(split.x, split.y)  # fmt: skip
    np.testing.assert_allclose(own, plain.predict_proba(split.x_valid), atol=1e-12)


def test_a_forest_survives_its_checkpoint() -> None:
    split = rounded_split("binary")
    graph = fitted(random_forest.family, split).to_onnx("x")
    structure, arrays = flatten(graph)
    np.testing.assert_array_equal(
        run_graph(unflatten(structure, arrays), split.x_valid), run_graph(graph, split.x_valid)
    )
    per_node = sum(a.nbytes for a in arrays.values()) / len(arrays["a/0/nodes_modes"])
    assert per_node < 40, "checkpoints stay small: 26 bytes a node and 16 a leaf"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("num_cat", "1", "categorical"), ("is_linear", "1", "linear"), ("decision_type", "6", "zero as missing")],
)
def test_what_lightgbm_trees_cannot_be_exported_is_refused(field: str, value: str, message: str) -> None:
    lines = {
        "num_leaves": "2", "num_cat": "0", "split_feature": "0", "threshold": "0.5", "decision_type": "2",
        "left_child": "-1", "right_child": "-2", "leaf_value": "1 2", "is_linear": "0",
    }  # fmt: skip

    def text(fields: dict[str, str]) -> str:
        return "tree\n\nTree=0\n" + "\n".join(f"{k}={v}" for k, v in fields.items()) + "\n\nend of trees\n"

    assert len(lightgbm.parse(text(lines), 1).trees) == 1
    with pytest.raises(ValueError, match=message):
        lightgbm.parse(text({**lines, field: value}), 1)


def test_a_catboost_split_on_a_category_is_refused() -> None:
    tree = {"splits": [{"split_type": "OneHotFeature", "cat_feature_index": 0, "value": 1}], "leaf_values": [0, 1]}
    exported = {"features_info": {}, "scale_and_bias": [1, [0]], "oblivious_trees": [tree]}
    with pytest.raises(ValueError, match="OneHotFeature"):
        catboost.parse(exported, 1)
