"""Pictures through the service: an archive up, a job, answers for a picture, for rows and for a zip."""

from __future__ import annotations

import base64
import io
import zipfile
from pathlib import Path

import pytest

from app.client import ApiError
from assay.testing.toy_image import toy_files
from tests.e2e.service import processes

NAMES = ("disc", "lying bar", "standing bar")


def test_from_an_archive_over_a_job_to_answers(tmp_path: Path) -> None:
    path = tmp_path / "shapes.zip"
    with zipfile.ZipFile(path, "w") as out:
        for part, n, seed in (("train", 60, 1), ("test", 24, 2)):
            for j, (data, code) in enumerate(zip(*toy_files(n, 3, seed=seed), strict=True)):
                out.writestr(f"shapes/{part}/{NAMES[code]}/{j}.png", data)
    with processes(tmp_path) as service:
        call = service.client.call
        data = service.client.upload(path)
        assert (data["kind"], data["rows"], data["format"]) == ("images", 84, "imagefolder")
        shown = call("GET", f"/v1/datasets/{data['id']}/preview?rows=2")
        assert shown["rows"][0][0].startswith("data:image/jpeg;base64,")
        job = service.submit(
            data["id"], {"type": "image_classification"}, 60, search={"families": ["hog_linear"]}, limits={"trials": 1}
        )
        ended = service.wait(job["id"], 90)
        assert ended["status"] == "succeeded", ended
        model = ended["best"]["model_id"]
        assert call("GET", f"/v1/models/{model}")["test_metrics"]["accuracy"] > 0.6
        files, _ = toy_files(3, 3, seed=3)
        rows = {"rows": [{"image": base64.b64encode(f).decode()} for f in files]}
        answers = call("POST", f"/v1/models/{model}/predict", rows)["predictions"]
        assert set(answers[0]["probabilities"]) == set(NAMES)
        alone = call("POST", f"/v1/models/{model}/predict", files[0], content_type="image/png")["predictions"]
        assert [a["value"] for a in alone] == [answers[0]["value"]]
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as out:
            for i, f in enumerate(files):
                out.writestr(f"new/{i}.png", f)
        zipped = call("POST", f"/v1/models/{model}/predict", packed.getvalue(), content_type="application/zip")[
            "predictions"
        ]
        assert [a["name"] for a in zipped] == ["new/0.png", "new/1.png", "new/2.png"]
        assert [a["value"] for a in zipped] == [a["value"] for a in answers]
        with pytest.raises(ApiError) as caught:
            call("POST", f"/v1/models/{model}/predict", b"PK\x05\x06" + bytes(18), content_type="application/zip")
        assert caught.value.problem["code"] == "unsupported_format"
