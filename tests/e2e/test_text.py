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

from assay.testing.toy_text import toy_texts
from tests.e2e.service import Service, processes

TASK = {"type": "text_classification", "target": "mood"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with processes(tmp_path_factory.mktemp("text")) as running:
        yield running


@pytest.fixture(scope="module")
def dataset(service: Service) -> str:
    texts, y, _ = toy_texts("multiclass", 240)
    path = service.folder / "reviews.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["review", "stars", "mood"])
        moods = ["good", "bad", "so-so"]
        writer.writerows([t, i % 7 + 0.5, moods[c]] for i, (t, c) in enumerate(zip(texts.values(), y, strict=True)))
    data = service.client.upload(path)
    assert {c["name"]: c["type"] for c in data["columns"]}["review"] == "text"
    return str(data["id"])


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
