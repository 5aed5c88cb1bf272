"""The bundle of a segmenter answers picture files without Assay."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import assay
from assay.testing.shapes import shapes, shapes_table


@pytest.mark.timeout(400)  # starting two interpreters on a busy machine
def test_the_bundle_alone_answers_like_the_library(tmp_path: Path) -> None:
    table = shapes_table(20).without(["boxes"])
    model = assay.fit(table, task="segmentation", families=["pixel_forest"], trials=1, seconds=1000)
    assert model.metrics["mean_iou"] > 0.3
    (data,), _, _ = shapes(1, seed=5)
    (tmp_path / "one.png").write_bytes(data)
    with zipfile.ZipFile(model.save(tmp_path / "model.zip")) as archive:
        archive.extractall(tmp_path / "model")
    command = [sys.executable, "-P", "model/predict.py", "one.png"]
    environment = {"PYTHONPATH": str(tmp_path / "model"), "PYTHONSAFEPATH": "1"}
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    assert json.loads(out.stdout) == json.loads(json.dumps(model.answer([{"image": data}])[0]))
