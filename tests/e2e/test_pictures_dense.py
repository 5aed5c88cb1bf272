"""Detection and segmentation through the public API: upload an archive, search, ask with a picture and with a zip."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from assay.data.images.outlines import decode_runs
from assay.metrics import METRICS
from assay.testing.shapes import CLASSES, coco_zip, masks_zip, shapes
from tests.e2e.service import Service, processes

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with processes(tmp_path_factory.mktemp("dense")) as running:
        yield running


def finished(service: Service, data: str, task: str, family: str) -> dict[str, Any]:
    job = service.submit(data, {"type": task}, 60, search={"families": [family]}, limits={"trials": 1})
    found = service.wait(job["id"], 200)
    assert found["status"] == "succeeded", found["error"]
    return found


def test_an_archive_of_masks_becomes_a_segmenter(service: Service) -> None:
    data = service.client.upload(masks_zip(service.folder / "masks.zip", 24))
    job = finished(service, data["id"], "segmentation", "pixel_forest")
    files, _, masks = shapes(4, seed=7)
    rows = {"rows": [{"image": base64.b64encode(f).decode()} for f in files]}
    answer = service.client.call("POST", f"/v1/models/{job['best']['model_id']}/predict", rows)
    truth = [np.asarray(Image.open(io.BytesIO(m))) for m in masks]
    found = []
    for told in (p["value"] for p in answer["predictions"]):
        mask = np.zeros(told["size"], np.uint8)
        for k, name in enumerate(CLASSES, 1):
            if name in told["counts"]:
                mask[decode_runs({"size": told["size"], "counts": told["counts"][name]})] = k
        np.testing.assert_array_equal(mask, np.asarray(Image.open(io.BytesIO(base64.b64decode(told["png"])))))
        found.append(mask)
    assert [m.shape for m in found] == [t.shape for t in truth]
    assert METRICS["mean_iou"].value(truth, found) > 0.4  # type: ignore[arg-type]


def test_coco_annotations_become_a_detector(service: Service) -> None:
    data = service.client.upload(coco_zip(service.folder / "coco.zip", 24))
    job = service.submit(
        data["id"], {"type": "object_detection"}, 40, search={"families": ["fcos"]}, limits={"trials": 1}
    )
    job = service.wait(job["id"], 200)
    assert job["status"] == "succeeded", job["error"]
    assert set(job["resolved"]["because"]) and job["best"]["metric"] == "map50"
    files, _, _ = shapes(2, seed=7)
    rows = {"rows": [{"image": base64.b64encode(f).decode()} for f in files]}
    model = job["best"]["model_id"]
    answer = service.client.call("POST", f"/v1/models/{model}/predict", rows)["predictions"]
    for told, data_ in zip(answer, files, strict=True):
        width, height = Image.open(io.BytesIO(data_)).size
        assert told["size"] == [width, height]
        for box in told["value"]:
            x, y, w, h = box["box"]
            assert box["label"] in CLASSES and 0 <= box["score"] <= 1
            assert 0 <= x <= x + w <= width + 0.02 and 0 <= y <= y + h <= height + 0.02
    with zipfile.ZipFile(service.client.download(model, service.folder / "model.zip")) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest["outputs"].keys() == {"boxes", "scores", "labels"}
    assert manifest["classes"] == sorted(CLASSES)


def test_the_users_own_datasets_validate_and_test_a_segmenter(service: Service) -> None:
    parts = [
        service.client.upload(masks_zip(service.folder / f"part-{i}.zip", n, seed=i))["id"]
        for i, n in enumerate((20, 12, 11))
    ]
    job = service.submit(
        parts[0], {"type": "segmentation"}, 60, search={"families": ["pixel_forest"]}, limits={"trials": 1},
        validation_dataset_id=parts[1], test_dataset_id=parts[2],
    )  # fmt: skip
    job = service.wait(job["id"], 200)
    assert job["status"] == "succeeded", job["error"]
    assert any("12 rows of the validation dataset" in b for b in job["resolved"]["because"])
    model = service.client.call("GET", f"/v1/models/{job['best']['model_id']}")
    with zipfile.ZipFile(service.client.download(model["id"], service.folder / "parts.zip")) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    rows = manifest["info"]["rows"]
    assert (rows["train"], rows["validation"], rows["test"]) == (20, 12, 11)
    assert manifest["classes"] == ["background", *CLASSES] and model["test_metrics"]["mean_iou"] > 0.3
