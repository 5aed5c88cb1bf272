"""A clustering job through the public API: no target, leaderboard, report, download, predict as JSON and csv."""

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

from tests.e2e.service import Service, processes


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with processes(tmp_path_factory.mktemp("clustering")) as running:
        yield running


@pytest.fixture(scope="module")
def finished(service: Service) -> dict[str, Any]:
    path = service.folder / "groups.csv"
    rng = np.random.default_rng(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b"])
        for centre in ((0, 0), (9, 0), (4, 9)):
            writer.writerows(rng.normal(size=(40, 2)) + centre)
    dataset = service.client.upload(path)["id"]
    made = service.submit(dataset, {"type": "clustering"}, 60, search={"families": ["kmeans"]}, limits={"trials": 2})
    return service.wait(made["id"], 90)


def test_a_job_without_a_target_finds_the_groups(service: Service, finished: dict[str, Any], tmp_path: Path) -> None:
    assert finished["status"] == "succeeded", finished["error"]
    assert finished["best"]["metric"] == "clustering_quality"
    client, model = service.client, finished["best"]["model_id"]
    board = client.call("GET", f"/v1/jobs/{finished['id']}/leaderboard")["data"]
    assert {"silhouette", "dbcv"} <= board[0]["metrics"].keys()
    points = [{"a": 0, "b": 0}, {"a": 9, "b": 0}, {"a": 4, "b": 9}, {"a": 0.2, "b": 0.1}]
    found = client.call("POST", f"/v1/models/{model}/predict", {"rows": points})["predictions"]
    assert sorted(p["value"] for p in found[:3]) == [0, 1, 2]
    assert found[3]["value"] == found[0]["value"] and found[0]["distance"] >= 0
    assert "clusters" in client.call("GET", f"/v1/models/{model}/card")["markdown"]
    bundle = tmp_path / "model.zip"
    client.download(model, bundle)
    folder = tmp_path / "model"
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(folder)
    (folder / "rows.csv").write_text("a,b\n" + "".join(f"{p['a']},{p['b']}\n" for p in points))
    subprocess.run([sys.executable, "predict.py", "rows.csv", "out.csv"], cwd=folder, check=True, timeout=60)
    with (folder / "out.csv").open() as file:
        alone = list(csv.DictReader(file))
    assert [int(r["prediction"]) for r in alone] == [p["value"] for p in found]


def test_its_pages_and_the_catalogue_answer(service: Service, finished: dict[str, Any]) -> None:
    import urllib.request

    for path in ("report", "plots", "plots/history", "plots/learning_curves"):
        with urllib.request.urlopen(f"http://127.0.0.1:{service.port}/v1/jobs/{finished['id']}/{path}") as answer:
            assert answer.status == 200 and answer.read()
    assert "clustering" in {t["name"] for t in service.client.call("GET", "/v1/tasks")["data"]}
