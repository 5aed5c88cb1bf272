"""A job with several targets through the public API: upload with gaps in the labels, search, predict, csv."""

from __future__ import annotations

import csv
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.data.table import Words
from assay.testing.toy_multitask import toy_targets, with_targets
from tests.e2e.service import Service, processes

TARGETS = ["bought", "size", "amount"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with processes(tmp_path_factory.mktemp("multitask")) as running:
        yield running


@pytest.fixture(scope="module")
def finished(service: Service) -> dict[str, Any]:
    data = service.client.upload(_csv(service.folder / "orders.csv"))
    job = service.submit(
        data["id"], {"type": "multitask", "targets": TARGETS}, 120, search={"families": ["independent"]},
        limits={"trials": 1}, validation={"folds": 2},
    )  # fmt: skip
    return service.wait(job["id"], 180)


def test_a_job_reports_every_target_and_answers_all(service: Service, finished: dict[str, Any]) -> None:
    assert finished["status"] == "succeeded", finished["error"]
    assert [t["kind"] for t in finished["resolved"]["options"]["targets"]] == ["binary", "multiclass", "regression"]
    board = service.client.call("GET", f"/v1/jobs/{finished['id']}/leaderboard")["data"]
    assert {"multitask_score", "bought:roc_auc", "size:accuracy", "amount:r2"} <= board[0]["metrics"].keys()
    model = finished["best"]["model_id"]
    rows = {"rows": [{"a": 2.0, "b": 0.1, "c": 0.0, "d": 20.0, "noise": 0.0, "plan": "pro", "is_new": "yes"}]}
    (answer,) = service.client.call("POST", f"/v1/models/{model}/predict", rows)["predictions"]
    assert answer["value"].keys() == set(TARGETS)
    assert sum(answer["probabilities"]["size"].values()) == pytest.approx(1.0, abs=1e-5)
    request = urllib.request.Request(
        f"http://127.0.0.1:{service.port}/v1/models/{model}/predict", json.dumps(rows).encode(),
        {"Content-Type": "application/json", "Accept": "text/csv"},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=30) as response:
        (row,) = csv.DictReader(response.read().decode().splitlines())
    assert row["prediction_size"] == answer["value"]["size"]
    assert float(row["prediction_amount"]) == pytest.approx(answer["value"]["amount"], rel=1e-6)
    assert "probability_bought_yes" in row


def _csv(path: Path) -> Path:
    table = with_targets(*toy_targets(160))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table.names)
        columns = []
        for column in table.columns.values():
            if isinstance(column, Words):
                columns.append(column.values().tolist())
            else:
                columns.append(["" if np.isnan(v) else repr(float(v)) for v in np.asarray(column)])
        writer.writerows(zip(*columns, strict=True))
    return path
