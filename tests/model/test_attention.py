"""Where a model attends, from the members' graphs to the explanation of an answer."""

from __future__ import annotations

import numpy as np
import pytest

import assay
from assay.data.table import ColumnType, Table, Words
from assay.model.compose import ensemble_graph
from assay.model.explain import explain
from assay.model.graph import Graph, Scope
from assay.nn.tokens import emit_attended
from assay.spec import Validation
from assay.testing.toy_text import toy_texts


def member(factor: float, attends: bool = True) -> Graph:
    """[N, 2] from raw:x [N, 2]; what it attends to is x times the factor."""
    scope = Scope()
    x = scope.add("Mul", "raw:x", scope.const(np.float32(factor)))
    return scope.graph(scope.add("Softmax", emit_attended(scope, x, "pieces") if attends else x, axis=1))


def test_an_ensemble_answers_with_the_mean_of_the_members_that_attend() -> None:
    from assay.data.fronts import Front
    from assay.model.compose import model_bytes

    class Pair:
        kind, dtype, shape, about = "text", "float32", (2,), "two numbers"

    import onnxruntime

    fronts: dict[str, Front] = {"x": Pair()}  # type: ignore[dict-item]
    delivered = ensemble_graph([member(1.0), member(3.0), member(9.0, False)], [0.5, 0.25, 0.25], ["no", "yes"])
    data, names = model_bytes(delivered, {"x": ColumnType.TEXT}, fronts=fronts)
    assert list(names) == ["label", "attention_pieces", "probabilities"]
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    x = np.array([[1.0, 2.0], [0.0, -1.0]], np.float32)
    np.testing.assert_allclose(session.run(["attention_pieces"], {"x": x})[0], 2 * x, rtol=1e-6)


def test_a_table_model_has_no_such_output() -> None:
    assert set(ensemble_graph([member(1.0, False)], [1.0], ["no", "yes"]).outputs) == {"label", "probabilities"}


@pytest.fixture(scope="module")
def model() -> assay.Model:
    texts, y, _ = toy_texts("binary", 100)
    table = Table(
        {"text": texts, "mood": Words.of([("good", "bad")[c] for c in y])},
        {"text": ColumnType.TEXT, "mood": ColumnType.CATEGORY},
    )
    return assay.fit(
        table, "mood", task="text_classification", families=["text_transformer"], trials=1, ensemble=False,
        validation=Validation(folds=2),
    )  # fmt: skip


def test_an_explanation_shows_every_subword_with_its_weight(model: assay.Model) -> None:
    table, _ = model.read([{"text": "a lovely room"}, {"text": ""}])
    told, silent = explain(model, table)
    assert told.attention is not None and silent.attention == {"text": []}
    pieces = told.attention["text"]
    assert "".join(p.token.removeprefix("##") for p in pieces) == "alovelyroom"
    assert sum(p.weight for p in pieces) == pytest.approx(1.0, abs=1e-4)
    assert all(p.weight > 0 for p in pieces)


def test_predicting_does_not_ask_for_attention(model: assay.Model) -> None:
    table, _ = model.read([{"text": "a lovely room"}])
    assert set(model.run(table)) == {"label", "probabilities"}
    assert model.run(table, ["attention_pieces"])["attention_pieces"].shape[0] == 1
