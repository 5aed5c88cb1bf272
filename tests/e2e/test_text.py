"""A job over texts through the public API: upload, search, predict, explain, download."""

from __future__ import annotations

import csv
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assay.nn.weights import VARIABLE
from assay.testing.toy_text import tiny_encoder, toy_texts
from tests.e2e.service import Service, processes

TASK = {"type": "text_classification", "target": "mood"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with processes(tmp_path_factory.mktemp("text")) as running:
        yield running


@pytest.fixture(scope="module")
def dataset(service: Service) -> str:
    data = service.client.upload(reviews(service.folder / "reviews.csv"))
    assert {c["name"]: c["type"] for c in data["columns"]}["review"] == "text"
    return str(data["id"])


def reviews(path: Path) -> Path:
    texts, y, _ = toy_texts("multiclass", 240)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["review", "stars", "mood"])
        moods = ["good", "bad", "so-so"]
        writer.writerows([t, i % 7 + 0.5, moods[c]] for i, (t, c) in enumerate(zip(texts.values(), y, strict=True)))
    return path


def job(service: Service, dataset: str, family: str, trials: int) -> dict[str, Any]:
    made = service.submit(
        dataset, TASK, 60, search={"families": [family]}, limits={"trials": trials}, validation={"folds": 2}
    )
    return service.wait(made["id"], 90)


@pytest.fixture(scope="module")
def finished(service: Service, dataset: str) -> dict[str, Any]:
    return job(service, dataset, "tfidf_linear", 2)


def test_a_job_over_texts_delivers_a_model_that_reads_them(service: Service, finished: dict[str, Any]) -> None:
    assert finished["status"] == "succeeded", finished["error"]
    assert finished["resolved"]["features"] == ["review"]
    assert "reads texts" in next(e["reason"] for e in finished["resolved"]["left_out"] if e["column"] == "stars")
    model = finished["best"]["model_id"]
    rows = {"rows": [{"review": "Das war WUNDERBAR, 很好 很好"}, {"review": "ужасно плохо"}, {"review": ""}]}
    answer = service.client.call("POST", f"/v1/models/{model}/predict", rows)
    assert [p["value"] for p in answer["predictions"][:2]] == ["good", "bad"]


def test_the_bundle_alone_answers_like_the_service(service: Service, finished: dict[str, Any], tmp_path: Path) -> None:
    model = finished["best"]["model_id"]
    texts = ["lovely food", "讨厌的书", 'dull, "awful" room', "ठीक है", "?"]
    rows = [{"review": t} for t in texts]
    served = service.client.call("POST", f"/v1/models/{model}/predict", {"rows": rows})["predictions"]
    with zipfile.ZipFile(service.client.download(model, tmp_path / "model.zip")) as archive:
        archive.extractall(tmp_path / "model")
    with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["review"], *([t] for t in texts)])
    command = [sys.executable, str(tmp_path / "model" / "predict.py"), str(tmp_path / "rows.csv")]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    found = list(csv.DictReader(out.stdout.splitlines()))
    assert [r["prediction"] for r in found] == [p["value"] for p in served]
    for row, p in zip(found, served, strict=True):
        for name, share in p["probabilities"].items():
            assert float(row[f"probability_{name}"]) == pytest.approx(share, abs=1e-5)


def test_explaining_shows_where_the_model_attends(service: Service, dataset: str, finished: dict[str, Any]) -> None:
    rows = {"rows": [{"review": "a lovely room"}]}
    plain = service.client.call("POST", f"/v1/models/{finished['best']['model_id']}/explain", rows)
    assert plain["explanations"][0]["attention"] is None, "a linear model attends to nothing"
    attending = job(service, dataset, "text_transformer", 1)
    assert attending["status"] == "succeeded", attending["error"]
    answer = service.client.call("POST", f"/v1/models/{attending['best']['model_id']}/explain", rows)
    (told,) = answer["explanations"]
    assert told["contributions"].keys() == {"review"}
    tokens = told["attention"]["review"]
    assert "".join(t["token"].removeprefix("##") for t in tokens) == "alovelyroom"
    assert sum(t["weight"] for t in tokens) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.slow  # it starts a service of its own, whose environment names the folder
def test_an_encoder_from_a_folder_is_tuned_and_served(tmp_path: Path) -> None:
    with processes(tmp_path, {VARIABLE: str(tiny_encoder())}) as service:
        data = service.client.upload(reviews(service.folder / "reviews.csv"))["id"]
        tuned = job(service, data, "pretrained_encoder", 1)
        assert tuned["status"] == "succeeded", tuned["error"]
        rows = {"rows": [{"review": "a lovely room"}]}
        answer = service.client.call("POST", f"/v1/models/{tuned['best']['model_id']}/predict", rows)
        assert sum(answer["predictions"][0]["probabilities"].values()) == pytest.approx(1.0, abs=1e-4)


def test_two_columns_in_any_script_with_doubles_and_a_very_long_text_predict_numbers(service: Service) -> None:
    good, bad = ["很好", "رائع جدا", "😀😀", "wunderbar"], ["讨厌", "سيئ للغاية", "😡", "furchtbar"]
    rows = [[(good if i % 2 else bad)[i // 2 % 4], f"no {i % 3}", 4 + i % 2] for i in range(80)]  # most are doubles
    rows[7][1], rows[8][1] = "long " * 40_000, ""
    path = service.folder / "numbers.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["title", "body", "stars"], *rows])
    data = service.client.upload(path)["id"]
    made = service.submit(
        data, {"type": "text_regression", "target": "stars"}, 60,
        search={"families": ["tfidf_linear"]}, limits={"trials": 1}, validation={"folds": 2},
    )  # fmt: skip
    ended = service.wait(made["id"], 90)
    assert ended["status"] == "succeeded", ended["error"]
    asked = {"rows": [{"title": "رائع جدا", "body": "no 1"}, {"title": "😡", "body": None}, {"title": "x" * 300_000}]}
    found = service.client.call("POST", f"/v1/models/{ended['best']['model_id']}/predict", asked)["predictions"]
    assert found[0]["value"] > found[1]["value"] + 0.3
    assert 3.9 <= found[2]["value"] <= 5.1
