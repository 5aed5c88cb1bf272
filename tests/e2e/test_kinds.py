"""Several labels and quantiles through the public API: search, predict, csv, and requests that cannot be."""

from __future__ import annotations

import csv
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e.service import Service, processes

ROW = {"a": 1.5, "b": -0.5, "town": "x"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with processes(tmp_path_factory.mktemp("kinds")) as running:
        yield running


@pytest.fixture(scope="module")
def dataset(service: Service) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    n = 120
    a, b, town = rng.normal(size=n), rng.normal(size=n), rng.choice(list("xyz"), n)
    path = service.folder / "rows.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "town", "hot", "big", "cost"])
        for row in zip(a, b, town, strict=True):
            hot, big = int(row[0] > 0), "yes, big" if row[1] > 0.3 else "no"
            writer.writerow([*row, hot, big, 10 * row[0] + rng.normal()])
    found: dict[str, Any] = service.client.upload(Path(path))
    return found


def _finished(service: Service, dataset: dict[str, Any], task: dict[str, Any], family: str, **more: Any) -> Any:
    job = service.submit(
        dataset["id"], task, 120, search={"families": [family]}, limits={"trials": 1}, validation={"folds": 2}, **more
    )
    done = service.wait(job["id"], 180)
    assert done["status"] == "succeeded", done["error"]
    return done


def _csv(service: Service, model: str) -> dict[str, str]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{service.port}/v1/models/{model}/predict", json.dumps({"rows": [ROW]}).encode(),
        {"Content-Type": "application/json", "Accept": "text/csv"},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=30) as response:
        (row,) = csv.DictReader(response.read().decode().splitlines())
    return dict(row)


def test_several_labels_are_answered_by_name(service: Service, dataset: dict[str, Any]) -> None:
    task = {"type": "classification", "targets": ["hot", "big"], "ignore_columns": ["cost"]}
    done = _finished(service, dataset, task, "logistic")
    assert done["resolved"]["kind"] == "multilabel"
    model = done["best"]["model_id"]
    (answer,) = service.client.call("POST", f"/v1/models/{model}/predict", {"rows": [ROW]})["predictions"]
    assert answer["value"] == {"hot": "1", "big": "no"}
    assert answer["probabilities"]["big"].keys() == {"no", "yes, big"}
    row = _csv(service, model)
    assert row["prediction_hot"] == "1" and float(row["probability_big_no"]) > 0.5


def test_quantiles_are_answered_with_an_interval(service: Service, dataset: dict[str, Any]) -> None:
    task = {"type": "regression", "target": "cost", "ignore_columns": ["hot", "big"], "monotone": None}
    done = _finished(service, dataset, task, "linear", objective={"metric": "pinball", "quantiles": [0.1, 0.5, 0.9]})
    assert done["resolved"]["kind"] == "quantile" and done["resolved"]["metric"] == "pinball"
    model = done["best"]["model_id"]
    (answer,) = service.client.call("POST", f"/v1/models/{model}/predict", {"rows": [ROW]})["predictions"]
    low, high = answer["interval"]
    assert low < answer["value"] < high and answer["quantiles"]["0.9"] == high
    assert answer["value"] == pytest.approx(15, abs=2)
    assert _csv(service, model).keys() == {"prediction", "quantile_0.1", "quantile_0.5", "quantile_0.9"}


@pytest.mark.parametrize(
    ("task", "objective", "pointer"),
    [
        ({"type": "classification", "targets": ["hot", "town"]}, {}, "/task/targets/1"),
        ({"type": "regression", "target": "cost", "monotone": {"town": "increasing"}}, {}, "/task/monotone/town"),
        ({"type": "regression", "target": "cost"}, {"quantiles": [0]}, "/objective/quantiles/0"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(
    service: Service, dataset: dict[str, Any], task: dict[str, Any], objective: dict[str, Any], pointer: str
) -> None:
    body = {"dataset_id": dataset["id"], "task": task, "objective": objective}
    request = urllib.request.Request(
        f"http://127.0.0.1:{service.port}/v1/jobs", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=30)
    with caught.value as answer:
        assert answer.code == 422
        assert json.load(answer)["errors"][0]["pointer"] == pointer
