"""A loaded model: every form of rows gets the same answers, from any thread."""

import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from assay.data.table import Words
from assay.errors import DataError
from assay.model.bundle import bundle_bytes
from assay.model.predict import BATCH, Model, answers, csv_lines, load
from tests.model.linear import CLASSES, people
from tests.model.test_bundle import model

ROWS = [
    {"age": 41, "income": 1234.5, "town": "Aa", "since": "03.02.2001"},
    {"age": None, "income": 12, "town": "never seen", "since": None},
    {"age": 30, "income": "1.234,5", "town": "", "since": "2001-02-03 10:00:00"},
]


@pytest.fixture(scope="module")
def classifier() -> Model:
    return load(bundle_bytes(*model()))


def test_rows_columns_frames_and_csv_get_the_same_answers(classifier: Model, tmp_path: Path) -> None:
    expected = classifier.predict_proba(ROWS)
    names = list(ROWS[0])
    columns = {"columns": names, "data": [[row[n] for n in names] for row in ROWS]}
    np.testing.assert_array_equal(classifier.predict_proba(columns), expected)
    text = "age;income;town;since\n41;1.234,5;Aa;03.02.2001\n;12;never seen;\n30;1.234,5;;2001-02-03 10:00:00\n"
    (tmp_path / "rows.csv").write_text(text)
    np.testing.assert_array_equal(classifier.predict_proba(tmp_path / "rows.csv"), expected)
    np.testing.assert_array_equal(classifier.predict_proba(str(tmp_path / "rows.csv")), expected)
    np.testing.assert_array_equal(classifier.predict_proba(text.encode()), expected)
    np.testing.assert_array_equal(classifier.predict_proba(pd.DataFrame(ROWS)), expected)
    np.testing.assert_array_equal(classifier.predict_proba(ROWS[0]), expected[:1])


def test_labels_are_the_likeliest_classes_and_shares_sum_to_one(classifier: Model) -> None:
    table, _ = people(500, seed=4)
    shares = classifier.predict_proba(table)
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-6)
    assert classifier.predict(table) == [CLASSES[i] for i in shares.argmax(1)]


def test_answers_have_the_shape_the_service_promises(classifier: Model) -> None:
    told, warnings = classifier.answer([{**ROWS[0], "age": "old", "more": 1}])
    assert set(told[0]) == {"value", "probabilities"} and list(told[0]["probabilities"]) == list(CLASSES)
    assert told[0]["value"] in CLASSES
    assert {(w.row, w.column) for w in warnings} == {(None, "more"), (0, "age")}
    regressor = load(bundle_bytes(*model(False)))
    told, _ = regressor.answer(ROWS)
    assert [set(a) for a in told] == [{"value"}] * 3 and all(isinstance(a["value"], float) for a in told)
    with pytest.raises(DataError, match="use predict"):
        regressor.predict_proba(ROWS)


def test_csv_answers_have_a_column_for_each_class(classifier: Model) -> None:
    lines = list(csv_lines(classifier.run(classifier.read(ROWS)[0]), classifier.manifest))
    assert lines[0] == ["prediction", "probability_low", "probability_mid", "probability_high"]
    assert [line[0] for line in lines[1:]] == classifier.predict(ROWS)


def test_the_threshold_of_the_manifest_decides() -> None:
    from dataclasses import replace

    manifest = replace(model()[1], classes=("no", "yes"), threshold=0.3)
    told = answers({"probabilities": np.array([[0.65, 0.35], [0.75, 0.25]])}, manifest)
    assert [a["value"] for a in told] == ["yes", "no"]


def test_many_rows_are_answered_in_parts_and_none_with_none(classifier: Model) -> None:
    table, _ = people(100, seed=5)
    many = table.take(np.arange(BATCH + 50) % 100)
    np.testing.assert_allclose(
        classifier.predict_proba(many), classifier.predict_proba(table)[np.arange(BATCH + 50) % 100], atol=1e-6
    )
    assert classifier.predict(table.take(np.empty(0, np.int64))) == []


def test_hard_rows_get_finite_answers(classifier: Model) -> None:
    odd = [{"age": 1e308, "income": -1e308, "town": "\u2205", "since": "9999-12-31"}]
    odd += [dict.fromkeys(ROWS[0]), {"age": float("inf"), "income": 1e-320, "town": " ", "since": "no date"}]
    assert np.isfinite(classifier.predict_proba(odd)).all()


def test_threads_share_one_model(classifier: Model) -> None:
    table, _ = people(300, seed=6)
    expected = classifier.predict_proba(table)
    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(classifier.predict_proba(table))) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 6 and all((f == expected).all() for f in found)


def test_a_saved_model_is_the_model(classifier: Model, tmp_path: Path) -> None:
    again = load(classifier.save(tmp_path / "m.zip"))
    assert again.sha256 == classifier.sha256 and again.metrics == classifier.metrics
    np.testing.assert_array_equal(again.predict_proba(ROWS), classifier.predict_proba(ROWS))


def test_a_missing_column_and_a_missing_file_are_named(classifier: Model, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'town'"):
        classifier.predict([{k: v for k, v in ROWS[0].items() if k != "town"}])
    with pytest.raises(DataError, match="'income'"):
        classifier.predict(people(3)[0].without(["income"]))
    with pytest.raises(DataError, match=r"nowhere\.csv"):
        classifier.predict(str(tmp_path / "nowhere.csv"))
    with pytest.raises(DataError, match=r"nowhere\.zip"):
        load(tmp_path / "nowhere.zip")


def test_a_table_with_unused_levels_is_read_by_its_codes(classifier: Model) -> None:
    table, _ = people(5)
    towns = table.words("town")
    padded = Words(towns.codes + 1, np.array(["Zz", *towns.levels], object)).take(np.arange(5))
    padded = Words(np.where(towns.codes < 0, -1, padded.codes).astype(np.int32), padded.levels)
    other = type(table)({**table.columns, "town": padded}, table.types)
    np.testing.assert_array_equal(classifier.predict_proba(other), classifier.predict_proba(table))
