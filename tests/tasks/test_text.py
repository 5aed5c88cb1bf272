"""What text tasks read, refuse and decide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.data.front_text import TextFront
from assay.data.profile import profile
from assay.data.table import ColumnType, Table, Words
from assay.data.texts import TextColumn
from assay.errors import FamilyUnavailable, SpecError
from assay.families import Shape, discover
from assay.nn.weights import VARIABLE
from assay.spec import JobSpec, Resolved, resolve, text_chars
from assay.tasks import discover as tasks
from assay.testing.context import ToyContext
from assay.testing.tasks import facts_of
from assay.testing.toy_text import text_split, toy_texts

TYPES = {
    "review": ColumnType.TEXT, "shop": ColumnType.CATEGORY, "price": ColumnType.NUMBER, "key": ColumnType.ID,
    "mood": ColumnType.CATEGORY,
}  # fmt: skip


def table() -> Table:
    texts, y, _ = toy_texts("binary", 80)
    columns: dict[str, Any] = {
        "review": texts,
        "shop": Words.of(["north", "south"] * 40),
        "price": np.arange(80.0),
        "key": Words.of([f"k{i}" for i in range(80)]),
        "mood": Words.of([("bad", "good")[c] for c in y]),
    }
    return Table(columns, TYPES)


def resolved(data: Table, type: str = "text_classification", target: str = "mood", **parts: Any) -> Resolved:
    return resolve(JobSpec.from_json({"task": {"type": type, "target": target}, **parts}), facts_of(data))


def test_texts_and_categories_are_read_and_the_rest_is_told() -> None:
    found = resolved(table())
    assert found.features == ("review", "shop")
    why = dict(found.left_out)
    assert "reads texts" in why["price"] and "key" in why
    assert any("'review', 'shop'" in b for b in found.because)


def test_words_that_look_like_ids_are_read_when_there_is_nothing_else() -> None:
    assert resolved(table().without(["review", "shop", "price"])).features == ("key",)


def test_long_texts_are_expected_to_take_longer() -> None:
    table = Table(
        {"review": Words.of(["so long", "longer still"] * 40), "mood": Words.of(["bad", "good"] * 40)},
        {"review": ColumnType.TEXT, "mood": ColumnType.CATEGORY},
    )
    spec = JobSpec.from_json({"task": {"type": "text_classification", "target": "mood"}})
    assert text_chars(resolve(spec, profile(table)).options) == 9.5
    for name in ("tfidf_linear", "bag_of_ngrams", "text_cnn", "text_transformer"):
        family = discover()[name]
        tweet, usual, review, novel = (
            family.cost(family.Config(), Shape(1_000, 1, 2, chars=n)).seconds for n in (20, 150, 500, 90_000)
        )
        assert tweet < usual < review < novel < 12 * review  # what is too long to be read costs nothing
        assert usual == family.cost(family.Config(), Shape(1_000, 1, 2)).seconds


def test_a_table_of_numbers_is_refused_with_the_way_out() -> None:
    with pytest.raises(SpecError, match=r"'price' \(number\).*classification"):
        resolved(table().select(["price", "mood"]))


def test_every_column_gets_a_front_fitted_without_the_test_rows() -> None:
    data = table()
    found = resolved(data, search={"families": ["text_cnn"]})
    problem = tasks()["text_classification"].prepare(data, found)
    assert set(problem.fronts) == {"review", "shop"}
    front = problem.fronts["review"]
    assert isinstance(front, TextFront) and front.pieces and not front.encoder
    assert isinstance(problem.features.columns["review"], TextColumn)
    texts = data.words("review").values()
    texts[problem.folds.test] = [t + " qqqqqq" for t in texts[problem.folds.test]]
    changed = Table({**data.columns, "review": Words.of(texts)}, data.types)
    again = tasks()["text_classification"].prepare(changed, found).fronts["review"]
    assert isinstance(again, TextFront) and again.vocabulary == front.vocabulary


def test_regression_on_texts_predicts_numbers() -> None:
    texts, y, _ = toy_texts("regression", 60)
    data = Table({"t": texts, "y": y}, {"t": ColumnType.TEXT, "y": ColumnType.NUMBER})
    found = resolved(data, "text_regression", "y")
    assert found.kind == "regression" and found.metric == "rmse"
    problem = tasks()["text_regression"].prepare(data, found)
    assert problem.target.is_regression and problem.fronts.keys() == {"t"}


def test_without_weights_a_pretrained_encoder_is_not_searched_and_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    found = resolved(table())
    assert "pretrained_encoder" not in found.families and "tfidf_linear" in found.families
    assert any(b.startswith("without pretrained_encoder") and VARIABLE in b for b in found.because)
    asked = resolved(table(), search={"families": ["pretrained_encoder"]})
    assert asked.families == ("pretrained_encoder",)
    family = discover()["pretrained_encoder"]
    split = text_split("multiclass", discover()["tfidf_linear"].recipe(discover()["tfidf_linear"].Config()))
    with pytest.raises(FamilyUnavailable, match=VARIABLE):
        family.fit(family.Config(), split, ToyContext())
