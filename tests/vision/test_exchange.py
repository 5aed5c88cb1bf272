"""Answers as COCO's JSON and as a zip of masks: read again by COCO's own tools, and by what reads archives here."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assay.vision.answers import mask_answers
from assay.vision.exchange import coco, render

CLASSES = ("background", "cat", "dog")


def masks() -> tuple[list[dict[str, object]], np.ndarray]:
    square = np.zeros((2, 32, 32), np.uint8)
    square[0, 4:12, 6:20] = 1
    square[0, 20:30, 2:9] = 2
    told = mask_answers({"mask": square, "size": np.array([[32, 32], [32, 24]])}, CLASSES, 32)
    return [dict(t, name=n) for t, n in zip(told, ("a/1.jpg", "../../b.png"), strict=True)], square


def test_boxes_are_read_by_the_tools_of_coco(tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    box = {"label": "dog", "score": 0.5, "box": [1.0, 2.0, 10.0, 4.0]}
    told = [{"value": [box], "size": [40, 30], "name": "x.jpg"}, {"value": [], "size": [8, 9]}]
    (tmp_path / "c.json").write_text(json.dumps(coco(told, ("cat", "dog"))), "utf-8")
    read = COCO(str(tmp_path / "c.json"))
    assert [(i["file_name"], i["width"], i["height"]) for i in read.loadImgs([1, 2])] == [
        ("x.jpg", 40, 30),
        ("2", 8, 9),
    ]
    (only,) = read.loadAnns(read.getAnnIds(imgIds=[1]))
    assert only["bbox"] == [1.0, 2.0, 10.0, 4.0] and only["area"] == 40 and only["score"] == 0.5
    assert read.loadCats(only["category_id"])[0]["name"] == "dog" and not read.getAnnIds(imgIds=[2])


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_masks_are_read_by_the_tools_of_coco(tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    told, square = masks()
    (tmp_path / "c.json").write_bytes(render("coco", told, CLASSES))
    read = COCO(str(tmp_path / "c.json"))
    found = {read.loadCats(a["category_id"])[0]["name"]: a for a in read.loadAnns(read.getAnnIds(imgIds=[1]))}
    assert found.keys() == {"cat", "dog"} and found["cat"]["bbox"] == [6, 4, 14, 8]
    for k, name in ((1, "cat"), (2, "dog")):
        np.testing.assert_array_equal(read.annToMask(found[name]).astype(bool), square[0] == k)


def test_masks_come_as_files_that_stay_inside_their_folder() -> None:
    told, square = masks()
    with zipfile.ZipFile(io.BytesIO(render("masks", told, CLASSES))) as archive:
        assert archive.namelist() == ["a/1.png", "b.png", "classes.txt"]
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(archive.read("a/1.png")))), square[0])
        assert archive.read("classes.txt").decode().split() == list(CLASSES)


def test_a_picture_that_cannot_be_read_is_named_and_has_no_file() -> None:
    told = mask_answers({"mask": np.zeros((2, 32, 32), np.uint8), "size": np.array([[0, 0], [32, 24]])}, CLASSES, 32)
    named = [dict(t, name=n) for t, n in zip(told, ("broken.png", "b.png"), strict=True)]
    with zipfile.ZipFile(io.BytesIO(render("masks", named, CLASSES))) as archive:
        assert archive.namelist() == ["b.png", "classes.txt", "unreadable.txt"]
        assert archive.read("unreadable.txt").decode().split() == ["broken.png"]
