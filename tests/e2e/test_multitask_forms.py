"""Several targets of pictures and of texts through the public API: upload, search, predict, explain, download."""

from __future__ import annotations

import base64
import csv
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.data.table import Words
from assay.testing.scenes import KINDS, scenes, scenes_zip
from assay.testing.toy_multitask_texts import pairs_table
from tests.e2e.service import Service, processes

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with processes(tmp_path_factory.mktemp("forms")) as running:
        yield running


def finished(service: Service, data: str, task: dict[str, Any], family: str, seconds: float) -> dict[str, Any]:
    job = service.submit(
        data, {"type": "multitask", **task}, 150, search={"families": [family]},
        limits={"trials": 1, "trial_seconds": seconds}, validation={"folds": 2, "test_fraction": 0.2},
    )  # fmt: skip
    found = service.wait(job["id"], 200)
    assert found["status"] == "succeeded", found["error"]
    return found


@pytest.mark.slow
def test_an_archive_of_classes_and_masks_becomes_one_model_of_both(service: Service, tmp_path: Path) -> None:
    data = service.client.upload(scenes_zip(service.folder / "scenes.zip", 40, side=48))
    job = finished(service, data["id"], {}, "mmd_net", 40)
    board = service.client.call("GET", f"/v1/jobs/{job['id']}/leaderboard")["data"]
    assert {"multitask_score", "label:accuracy", "mask:mean_iou", "mask:skill"} <= board[0]["metrics"].keys()
    model = job["best"]["model_id"]
    told = service.client.call("GET", f"/v1/models/{model}")
    assert "mask:mean_iou" in told["test_metrics"]
    files, _, _, _, hints = scenes(3, seed=9, side=48)
    rows = [{"image": base64.b64encode(f).decode(), "hint": h} for f, h in zip(files, hints, strict=True)]
    rows[2].pop("hint")
    answers = service.client.call("POST", f"/v1/models/{model}/predict", {"rows": rows})["predictions"]
    for answer in answers:
        assert answer["value"]["label"] in KINDS and answer["value"]["mask"]["size"] == [48, 48]
        assert sum(answer["probabilities"]["label"].values()) == pytest.approx(1.0, abs=1e-4)
    explained = service.client.call("POST", f"/v1/models/{model}/explain", {"rows": rows[:1]})["explanations"]
    assert explained[0]["targets"].keys() == {"label"} and "hint" in explained[0]["contributions"]
    folder = tmp_path / "bundle"
    with zipfile.ZipFile(service.client.download(model, service.folder / "scenes-model.zip")) as archive:
        archive.extractall(folder)
    (folder / "one.png").write_bytes(files[2])
    ran = subprocess.run(
        [sys.executable, "predict.py", "one.png"], cwd=folder, capture_output=True, text=True, check=True, env={}
    )
    (alone,) = json.loads(ran.stdout)
    assert alone["value"]["mask"]["counts"] == answers[2]["value"]["mask"]["counts"]
    assert alone["value"]["label"] == answers[2]["value"]["label"]


@pytest.mark.slow
def test_texts_and_pairs_become_one_model_that_shows_where_it_attends(service: Service) -> None:
    table = pairs_table(160)
    path = service.folder / "pairs.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table.names)
        cells = [
            c.values().tolist()
            if isinstance(c, Words)
            else ["" if np.isnan(v) else repr(float(v)) for v in np.asarray(c)]
            for c in table.columns.values()
        ]
        writer.writerows(zip(*cells, strict=True))
    data = service.client.upload(path)
    targets = ["mood", "topic", {"name": "alike", "kind": "similarity", "columns": ["first", "second"]}, "same"]
    job = finished(service, data["id"], {"targets": targets}, "mt_dnn", 60)
    assert job["request"]["task"]["targets"][2]["kind"] == "similarity"
    board = service.client.call("GET", f"/v1/jobs/{job['id']}/leaderboard")["data"]
    assert {"mood:accuracy", "topic:log_loss", "alike:r2", "same:roc_auc"} <= board[0]["metrics"].keys()
    model = job["best"]["model_id"]
    row = {"first": "good soup and bread", "second": "good soup and bread"}
    (answer,) = service.client.call("POST", f"/v1/models/{model}/predict", {"rows": [row]})["predictions"]
    assert answer["value"].keys() == {"mood", "topic", "alike", "same"}
    (told,) = service.client.call("POST", f"/v1/models/{model}/explain", {"rows": [row]})["explanations"]
    assert told["attention"]["first"] and told["targets"].keys() == answer["value"].keys()


def test_what_a_target_may_not_say_is_refused_by_its_place(service: Service) -> None:
    data = service.client.upload(scenes_zip(service.folder / "again.zip", 12, side=32))
    body = {
        "dataset_id": data["id"],
        "task": {"type": "multitask", "targets": ["label", {"name": "mask", "kind": "ranking"}]},
    }
    with pytest.raises(Exception, match="segmentation"):
        service.client.call("POST", "/v1/jobs", body)
