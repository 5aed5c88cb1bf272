"""Classes and side information of pictures that have masks: from folders, from a csv, from COCO's own fields."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from assay.data.readers import read
from assay.data.table import ColumnType
from tests.data.images.pictures import encoded, picture, zipped

MASK = encoded(np.zeros((8, 12), np.uint8))
NAMES = ["cat/1", "cat/2", "dog/1", "dog/2"]


@pytest.mark.parametrize(
    ("plain", "masked"),
    [
        ("images/{}.jpg", "masks/{}.png"),
        ("set/images/{}.jpg", "set/masks/{}.png"),
        ("{}.png", "{}_mask.png"),
    ],
)
def test_folders_of_pictures_with_masks_are_classes(tmp_path: Path, plain: str, masked: str) -> None:
    files = {plain.format(n): picture(i) for i, n in enumerate(NAMES)} | {masked.format(n): MASK for n in NAMES}
    loaded = read(zipped(tmp_path / "a.zip", files))
    table = loaded.table
    assert loaded.dialect.format == "masks"
    labels = dict(zip(table.words("path").values(), table.words("label").values(), strict=True))
    assert labels == {plain.format(n): n.split("/")[0] for n in NAMES}
    assert all(m is not None for m in table.blobs("mask"))


def test_class_folders_may_hold_the_pictures_and_the_masks(tmp_path: Path) -> None:
    files = {}
    for i, name in enumerate(NAMES):
        kind, stem = name.split("/")
        files[f"train/{kind}/images/{stem}.jpg"] = picture(i)
        files[f"train/{kind}/masks/{stem}.png"] = encoded(np.full((8, 12), i, np.uint8))
    table = read(zipped(tmp_path / "a.zip", files)).table
    assert table.words("label").values().tolist() == ["cat", "cat", "dog", "dog"]
    tops = [int(np.asarray(_open(m)).max()) for m in table.blobs("mask")]
    assert tops == [0, 1, 2, 3], "masks of the same name belong to the pictures of their own folder"


def test_one_folder_of_pictures_is_no_class(tmp_path: Path) -> None:
    files = {f"images/{i}.jpg": picture(i) for i in range(4)} | {f"masks/{i}.png": MASK for i in range(4)}
    assert "label" not in read(zipped(tmp_path / "a.zip", files)).table.names


@pytest.mark.parametrize("ending", ["", ".jpg"])
def test_a_csv_tells_labels_splits_and_side_information(tmp_path: Path, ending: str) -> None:
    rows = ["name,Label,age,sex,split"] + [
        f"{i}{ending},{'ab'[i % 2]},{20 + i},{'mf'[i % 2]},{'test' if i > 4 else 'train'}" for i in range(6)
    ]
    files = {f"images/{i}.jpg": picture(i) for i in range(7)} | {f"masks/{i}.png": MASK for i in range(7)}
    loaded = read(zipped(tmp_path / "a.zip", files | {"meta.csv": "\n".join(rows).encode()}))
    table = loaded.table
    assert table.words("label").values().tolist() == ["a", "b"] * 3 + [""]
    assert np.isnan(table.numbers("age")[-1]) and table.numbers("age")[:6].tolist() == [20, 21, 22, 23, 24, 25]
    assert table.words("split").values().tolist() == ["train"] * 5 + ["test", ""]
    assert {"sex", "age", "mask"} <= set(table.names) and "name" not in table.names
    assert not [w for w in loaded.warnings if w.code == "ignored_file"]


def test_a_csv_about_something_else_is_ignored_and_told(tmp_path: Path) -> None:
    files = {f"{k}/{i}.jpg": picture(i) for i in range(2) for k in "ab"} | {"readme.csv": b"x,y\n1,2\n3,4\n"}
    loaded = read(zipped(tmp_path / "a.zip", files))
    assert [w.code for w in loaded.warnings if "readme.csv" in w.message] == ["ignored_file"]
    assert loaded.table.names == ("image", "path", "label")


def test_coco_tells_classes_of_whole_pictures(tmp_path: Path) -> None:
    box = {"category_id": 7, "bbox": [1, 1, 4, 4]}
    document = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 12, "height": 8} for i in range(3)],
        "annotations": [{**box, "id": i, "image_id": i} for i in range(3)]
        + [{"id": 9, "image_id": 1, "category_id": 8}],
        "categories": [{"id": 7, "name": "nut"}, {"id": 8, "name": "indoors"}],
    }
    document["images"][2]["label"] = "outdoors"
    files = {f"{i}.jpg": picture(i) for i in range(3)} | {"notes.json": json.dumps(document).encode()}
    table = read(zipped(tmp_path / "a.zip", files)).table
    assert table.words("label").values().tolist() == ["", "indoors", "outdoors"]
    assert all(len(json.loads(b)) == 1 for b in table.words("boxes").values())
    assert table.types["label"] == ColumnType.CATEGORY


def _open(data: bytes | None) -> object:
    import io

    from PIL import Image

    return Image.open(io.BytesIO(data or b""))
