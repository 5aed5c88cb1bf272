"""A job over series in long form through the public API: upload, search, predict, explain, download."""

from __future__ import annotations

import csv
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.testing.toy_series import toy_series
from tests.e2e.service import Service, processes

FAMILIES = ["minirocket", "series_transformer"]
CLASSES = ["slow", "middle", "fast"]


def write_points(path: Path, n: int, seed: int) -> dict[str, str]:
    """Two channels, one row a point, in any order; series end early.  Returns the class of every series."""
    x, y = toy_series(3, n, n_channels=2, seed=seed)
    rng = np.random.default_rng(seed)
    lines = []
    for i in range(n):
        for t in range(int(rng.integers(20, x.shape[2] + 1))):
            cells = ["" if np.isnan(v) else f"{v:.5f}" for v in x[i, :, t]]
            lines.append([f"S-{i}", t, *cells, CLASSES[y[i]]])
    rng.shuffle(lines)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["machine", "minute", "volts", "noise", "speed"], *lines])
    return {f"S-{i}": CLASSES[c] for i, c in enumerate(y)}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with processes(tmp_path_factory.mktemp("series")) as running:
        yield running


@pytest.fixture(scope="module")
def finished(service: Service) -> dict[str, Any]:
    path = service.folder / "machines.csv"
    write_points(path, 60, seed=0)
    task = {"type": "sequence_classification", "target": "speed", "group_column": "machine", "time_column": "minute"}
    job = service.submit(
        service.client.upload(path)["id"], task, 60, search={"families": FAMILIES}, limits={"trials": 2},
        validation={"folds": 2},
    )  # fmt: skip
    return service.wait(job["id"], 120)


def test_every_series_gets_one_answer(service: Service, finished: dict[str, Any], tmp_path: Path) -> None:
    assert finished["status"] == "succeeded", finished["error"]
    assert finished["resolved"]["features"] == ["volts", "noise"]
    assert finished["resolved"]["n_rows"] == 60
    truth = write_points(tmp_path / "new.csv", 30, seed=1)
    with (tmp_path / "new.csv").open(encoding="utf-8") as file:
        rows = [{k: v for k, v in row.items() if k != "speed"} for row in csv.DictReader(file)]
    model = finished["best"]["model_id"]
    answer = service.client.call("POST", f"/v1/models/{model}/predict", {"rows": rows})["predictions"]
    assert [a["group"] for a in answer] == list(dict.fromkeys(r["machine"] for r in rows))
    assert np.mean([a["value"] == truth[a["group"]] for a in answer]) > 0.6


def test_the_bundle_alone_answers_like_the_service(service: Service, finished: dict[str, Any], tmp_path: Path) -> None:
    model = finished["best"]["model_id"]
    write_points(tmp_path / "new.csv", 12, seed=2)
    with (tmp_path / "new.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    served = service.client.call("POST", f"/v1/models/{model}/predict", {"rows": rows})["predictions"]
    with zipfile.ZipFile(service.client.download(model, tmp_path / "model.zip")) as archive:
        archive.extractall(tmp_path / "model")
    command = [sys.executable, str(tmp_path / "model" / "predict.py"), str(tmp_path / "new.csv")]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    found = list(csv.DictReader(out.stdout.splitlines()))
    assert [r["prediction"] for r in found] == [p["value"] for p in served]
    for row, p in zip(found, served, strict=True):
        for name, share in p["probabilities"].items():
            assert float(row[f"probability_{name}"]) == pytest.approx(share, abs=1e-5)


def test_explaining_tells_of_channels_and_of_steps(service: Service, finished: dict[str, Any]) -> None:
    rows = [{"machine": "a", "minute": t, "volts": float(np.sin(0.25 * t)), "noise": 0.0} for t in range(32)]
    model = finished["best"]["model_id"]
    (told,) = service.client.call("POST", f"/v1/models/{model}/explain", {"rows": rows})["explanations"]
    assert told["contributions"].keys() == {"volts", "noise"}
    members = {m["family"] for m in service.client.call("GET", f"/v1/models/{model}")["members"]}
    assert ("series_transformer" in members) == (told["attention"] is not None)
    if told["attention"] is not None:
        assert sum(s["weight"] for s in told["attention"]["steps"]) == pytest.approx(1.0, abs=1e-3)
