"""Archives of pictures as tables: layouts, what is mended and told, what is refused."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from assay.data.images.read import read_images
from assay.data.intake import intake
from assay.data.loaded import Loaded, ReadLimits
from assay.data.readers import read
from assay.data.table import ColumnType
from assay.errors import DataError
from tests.data.images.pictures import encoded, opened, picture, pixels, zipped


def said(loaded: Loaded) -> dict[str, str]:
    return {w.code: w.message for w in loaded.warnings}


def values(loaded: Loaded, column: str) -> list[str]:
    return [str(v) for v in loaded.table.words(column).values()]


def of(path: Path, files: dict[str, bytes]) -> Loaded:
    return read(zipped(path / "data.zip", files))


def boxes(loaded: Loaded) -> list[Any]:
    return [json.loads(b) if b else None for b in values(loaded, "boxes")]


# -- a folder for every class -----------------------------------------------------------------------------------------


def test_folders_are_classes_below_those_of_splits(tmp_path: Path) -> None:
    names = ["x/train/a cat/1.png", "x/train/dog/2.PNG", "x/val/dog/3.png", "x/test/a cat/4.png"]
    loaded = of(tmp_path, {n: picture(i) for i, n in enumerate(names)})
    assert (loaded.kind, loaded.dialect.format) == ("images", "imagefolder")
    assert values(loaded, "path") == names
    assert values(loaded, "label") == ["a cat", "dog", "dog", "a cat"]
    assert values(loaded, "split") == ["train", "train", "val", "test"]
    assert loaded.table.types["image"] is ColumnType.IMAGE
    assert loaded.table.blobs("image")[1] == picture(1)


def test_a_class_may_be_called_train_when_the_others_are_no_splits(tmp_path: Path) -> None:
    loaded = of(tmp_path, {"train/1.png": picture(1), "bus/2.png": picture(2), "bus/deeper/3.png": picture(3)})
    assert values(loaded, "label") == ["train", "bus", "bus"]
    assert "split" not in loaded.table.names


def test_pictures_without_folders_have_no_label(tmp_path: Path) -> None:
    loaded = of(tmp_path, {"1.png": picture(1), "2.png": picture(2)})
    assert loaded.table.names == ("image", "path")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_and_a_folder_read_like_a_zip(tmp_path: Path, mode: Any) -> None:
    files = {"cat/1.png": picture(1), "dog/2.png": picture(2)}
    path = tmp_path / "data.tar"
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("dog/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    loaded = read(path)
    assert values(loaded, "label") == ["cat", "dog"]
    assert "'dog/link.png'" in said(loaded)["ignored_file"]
    folder = tmp_path / "folder"
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(data)
    (folder / "dog" / "outside.png").symlink_to("/etc/passwd")
    again = read(folder)
    assert values(again, "path") == list(files)
    assert "'dog/outside.png'" in said(again)["ignored_file"]


# -- single pictures --------------------------------------------------------------------------------------------------


def test_what_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    whole = picture(1, 40, 40)
    loaded = of(
        tmp_path,
        {"a/1.png": whole, "a/cut.png": whole[: len(whole) // 2], "b/text.jpg": b"no picture", "b/2.png": picture(2),
         "b/empty.png": b"", "b/notes.md": b"#", "a/.DS_Store": b"x"},
    )  # fmt: skip
    assert values(loaded, "path") == ["a/1.png", "b/2.png"]
    told = said(loaded)
    assert told["unreadable_image"].startswith("3 file(s)")
    assert all(n in told["unreadable_image"] for n in ("a/cut.png", "b/text.jpg", "b/empty.png"))
    assert "'b/text.jpg' (no picture of a known format)" in told["unreadable_image"]
    assert "'b/notes.md'" in told["ignored_file"] and "DS_Store" not in told["ignored_file"]


def test_odd_pictures_become_plain_ones(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by a quarter
    deep = np.linspace(0, 65535, 96).reshape(8, 12).astype(np.uint16)
    loaded = of(
        tmp_path,
        {"a/turned.jpg": picture(1, 30, 10, "JPEG", exif=turned, quality=95), "a/cmyk.jpg": picture(2, mode="CMYK", form="JPEG"),
         "b/deep.png": encoded(deep), "b/grey.png": picture(4, mode="L"), "b/big.jpg": picture(5, 2000, 1000, "JPEG")},
    )  # fmt: skip
    found = {p: opened(loaded.table.blobs("image")[i]) for i, p in enumerate(values(loaded, "path"))}
    upright = found["a/turned.jpg"]
    assert upright.shape == (30, 10, 3)
    expected = np.rot90(pixels(1, 30, 10), -1).astype(float)
    assert np.abs(upright - expected).mean() < 0.7 * np.abs(np.rot90(expected, 2) - expected).mean()
    assert found["a/cmyk.jpg"].shape == (8, 12, 3)
    assert found["b/deep.png"].dtype == np.uint8 and found["b/deep.png"].max() == 255 and found["b/deep.png"].min() == 0
    assert found["b/big.jpg"].shape == (512, 1024, 3)
    told = said(loaded)
    assert "turned.jpg" in told["rotated_image"] and "big.jpg" in told["scaled_image"]
    assert "cmyk.jpg" in told["converted_image"] and "deep.png" in told["converted_image"]
    assert "grey.png" in told["grey_image"]


def test_the_same_picture_twice_is_told_with_both_names(tmp_path: Path) -> None:
    same = picture(7)
    loaded = of(
        tmp_path,
        {"train/a/1.png": same, "train/a/2.png": same, "train/b/3.png": picture(1), "test/b/4.png": same, "test/a/5.png": picture(2)},
    )  # fmt: skip
    told = said(loaded)
    assert told["duplicate_across_splits"].startswith("2 picture(s)")
    assert "'train/a/1.png' (as 'test/b/4.png')" in told["duplicate_across_splits"]
    assert "'a', and 'b'" in told["conflicting_labels"]


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../evil.png", "/etc/evil.png", "a/../../evil.png", "C:\\evil.png"])
def test_names_that_lead_outside_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="points outside the archive") as caught:
        of(tmp_path, {"a/1.png": picture(1), name: picture(2)})
    assert repr(name) in str(caught.value)


def test_bombs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", bytes(90 << 20))
    with pytest.raises(DataError, match="times as many") as caught:
        read(path)
    assert caught.value.code == "dataset_too_large"
    header = bytearray(picture(1))
    header[16:24] = (60_000).to_bytes(4, "big") * 2  # a PNG that announces 3.6 thousand million pixels
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    with pytest.raises(DataError, match=r"'a/huge.png' has") as caught:
        of(tmp_path, {"a/huge.png": bytes(header)})
    assert caught.value.code == "dataset_too_large"
    with pytest.raises(DataError, match="at most 100 are read"):
        read_images(
            zipped(tmp_path / "s.zip", {"a/1.png": picture(1)}), file="s.zip", limits=ReadLimits(max_bytes_unpacked=100)
        )


def test_a_damaged_member_is_refused_by_name(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"a/1.png": picture(1, 30, 30), "b/2.png": picture(2)})
    data = bytearray(path.read_bytes())
    data[200:210] = bytes(10)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"'a/1.png' is damaged"):
        read(path)


def test_an_archive_without_any_readable_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of its 1 pictures can be read, 'a/1.png'"):
        of(tmp_path, {"a/1.png": b"x"})


def test_types_of_columns_cannot_be_chosen(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"a/1.png": picture(1), "b/2.png": picture(2)})
    with pytest.raises(DataError, match="'label' is of type category"):
        read(path, overrides={"label": ColumnType.NUMBER})


def test_the_intake_shows_kind_columns_and_sizes(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"a/1.png": picture(1), "b/2.png": picture(2, 20, 10)})
    shown = intake(path, tmp_path / "table", name="x.zip", format="zip", overrides={})
    assert (shown["kind"], shown["format"], shown["rows"]) == ("images", "imagefolder", 2)
    sizes = shown["profile"]["columns"][0]["statistics"]
    assert sizes["longer_side"] == {"min": 12, "median": 16, "max": 20}


# -- boxes and masks --------------------------------------------------------------------------------------------------


def coco(**changes: Any) -> bytes:
    document = {
        "images": [{"id": 0, "file_name": "1.png", "width": 12, "height": 8}, {"id": 1, "file_name": "2.png", "width": 12, "height": 8}],
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 3, "bbox": [1, 2, 3, 4], "segmentation": [[1, 2, 4, 2, 4, 6, 1, 6]]},
            {"id": 2, "image_id": 0, "category_id": 3, "bbox": [10, 6, 9, 9], "iscrowd": 1},
            {"id": 3, "image_id": 0, "category_id": 9, "bbox": [1, 1, 1, 1]},
            {"id": 4, "image_id": 7, "category_id": 3, "bbox": [1, 1, 1, 1]},
            {"id": 5, "image_id": 0, "category_id": 3, "bbox": [1, 1, 0, 4]},
            {"id": 6, "image_id": 0, "category_id": 3, "bbox": [1, 1, None, 4]},
        ],
    } | changes  # fmt: skip
    return json.dumps(document).encode()


def test_coco_boxes_and_polygons(tmp_path: Path) -> None:
    files = {
        "train/1.png": picture(1),
        "train/2.png": picture(2),
        "train/3.png": picture(3),
        "train/_annotations.coco.json": coco(),
    }
    loaded = of(tmp_path, files)
    assert (loaded.kind, loaded.dialect.format) == ("detection", "coco")
    first, second, third = boxes(loaded)
    assert first == [
        {"label": "cat", "box": [1, 2, 3, 4], "polygons": [[1, 2, 4, 2, 4, 6, 1, 6]]},
        {"label": "cat", "box": [10, 6, 2, 2], "crowd": True},
    ]
    assert second == [] and third is None
    told = said(loaded)
    assert set(told) >= {
        "box_outside",
        "unknown_category",
        "missing_image",
        "empty_box",
        "bad_annotation",
        "no_objects",
        "unannotated_image",
    }
    assert "category_id 9" in told["unknown_category"] and "image_id 7" in told["missing_image"]


@pytest.mark.parametrize("counts", [[4, 2, 6, 2, 10], "426200"], ids=["list", "text"])
def test_run_lengths_become_polygons(tmp_path: Path, counts: Any) -> None:
    # 4 rows, 6 columns: the pixels of rows 0-1 in columns 1, and of rows 0-1 in column 3
    runs = [4, 2, 6, 2, 10]
    if isinstance(counts, str):
        counts = _text(runs)
    annotation = {"id": 1, "image_id": 0, "category_id": 3, "segmentation": {"size": [4, 6], "counts": counts}}
    document = coco(images=[{"id": 0, "file_name": "1.png", "width": 6, "height": 4}], annotations=[annotation])
    loaded = of(tmp_path, {"1.png": picture(1, 6, 4), "a.json": document})
    (thing,) = boxes(loaded)[0]
    assert thing["box"] == [1, 0, 3, 2]
    assert [sorted(zip(p[::2], p[1::2], strict=True)) for p in thing["polygons"]] == [
        [(1, 0), (1, 2), (2, 0), (2, 2)], [(3, 0), (3, 2), (4, 0), (4, 2)],
    ]  # fmt: skip


def _text(runs: list[int]) -> str:
    """As the COCO tools write run lengths."""
    out = ""
    for i, run in enumerate(runs):
        value = run - runs[i - 2] if i > 2 else run
        more = True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != (-1 if bits & 0x10 else 0)
            out += chr((bits | (0x20 if more else 0)) + 48)
    return out


def test_pictures_of_one_name_belong_to_the_document_of_their_split(tmp_path: Path) -> None:
    one = {"images": [{"id": 0, "file_name": "1.png"}]}
    cat, dog = (
        coco(
            **one,
            categories=[{"id": 3, "name": n}],
            annotations=[{"image_id": 0, "category_id": 3, "bbox": [1, 2, 3, 4]}],
        )
        for n in ("cat", "dog")
    )
    files = {"train2017/1.png": picture(1), "val2017/1.png": picture(2)}
    notes = {"annotations/instances_train2017.json": cat, "annotations/instances_val2017.json": dog}
    loaded = of(tmp_path, files | notes)
    rows = zip(values(loaded, "path"), values(loaded, "split"), boxes(loaded), strict=True)
    found = {path: (split, [b["label"] for b in things or []]) for path, split, things in rows}
    assert found == {"train2017/1.png": ("train", ["cat"]), "val2017/1.png": ("val", ["dog"])}
    assert "unannotated_image" not in said(loaded)


def test_broken_coco_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'a.json' looks like COCO annotations"):
        of(tmp_path, {"1.png": picture(1), "a.json": coco()[:-20]})
    early = coco()
    with pytest.raises(DataError, match=r"'a.json' looks like COCO annotations"):
        of(tmp_path, {"1.png": picture(1), "a.json": early[: early.index(b'"file_name"') + 20]})


def voc(boxes: str, size: str = "<size><width>12</width><height>8</height></size>") -> bytes:
    return f"<annotation><filename>elsewhere.png</filename>{size}{boxes}</annotation>".encode()


def thing(name: str, *corners: float) -> str:
    ends = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True))
    return f"<object><name>{name}</name><difficult>1</difficult><bndbox>{ends}</bndbox></object>"


def test_voc_boxes_splits_and_sizes(tmp_path: Path) -> None:
    loaded = of(
        tmp_path,
        {"JPEGImages/1.png": picture(1), "JPEGImages/2.png": picture(2, 24, 16), "Annotations/1.xml": voc(thing("a", 1, 2, 5, 6)),
         "Annotations/2.xml": voc(thing("b", 1, 2, 5, 6)), "Annotations/9.xml": voc(""),
         "ImageSets/Main/train.txt": b"1\n", "ImageSets/Main/test.txt": b"2\n"},
    )  # fmt: skip
    assert loaded.dialect.format == "voc"
    assert boxes(loaded)[0] == [{"label": "a", "box": [1, 2, 4, 4], "difficult": True}]
    assert boxes(loaded)[1][0]["box"] == [2, 4, 8, 8]  # made for a picture half as large
    assert values(loaded, "split") == ["train", "test"]
    assert set(said(loaded)) >= {"size_mismatch", "missing_image"}


def test_a_broken_annotation_leaves_its_picture_out_and_is_named(tmp_path: Path) -> None:
    files = {f"JPEGImages/{i}.png": picture(i) for i in (1, 2, 3)}
    files |= {f"Annotations/{i}.xml": voc(thing("a", 1, 2, 5, 6)) for i in (1, 3)}
    loaded = of(
        tmp_path,
        {**files, "Annotations/2.xml": b"<annotation><object><name>a</na", "Annotations/9.xml": b"<annotation>"},
    )
    told = dict(zip(loaded.table.words("path").values(), loaded.table.words("boxes").values(), strict=True))
    assert loaded.table.words("boxes").codes[1] == -1  # missing, which is not the same as empty
    assert json.loads(told["JPEGImages/1.png"]) == json.loads(told["JPEGImages/3.png"]) != []
    bad = next(w for w in loaded.warnings if w.code == "bad_annotation")
    assert "2 annotation(s)" in bad.message
    assert "'Annotations/2.xml'" in bad.message
    with pytest.raises(DataError, match=r"'Annotations/1.xml' is no valid XML"):
        of(tmp_path, {"JPEGImages/1.png": picture(1), "Annotations/1.xml": b"<annotation>"})


def test_xml_with_entities_is_refused_by_name(tmp_path: Path) -> None:
    evil = b'<!DOCTYPE x [<!ENTITY a "b">]><annotation>&a;</annotation>'
    with pytest.raises(DataError, match=r"'Annotations/1.xml' declares a document type"):
        of(tmp_path, {"JPEGImages/1.png": picture(1), "Annotations/1.xml": evil})


def test_masks_of_palettes_greys_and_colours(tmp_path: Path) -> None:
    numbers = np.zeros((8, 12), np.uint8)
    numbers[2:4, 3:6], numbers[0, 0] = 2, 255
    palette = Image.fromarray(numbers).convert("P")
    palette.putdata(numbers.ravel().tolist())
    out = io.BytesIO()
    palette.save(out, "PNG")
    plain = of(
        tmp_path,
        {
            "JPEGImages/1.png": picture(1),
            "SegmentationClass/1.png": out.getvalue(),
            "class_names.txt": b"none\ncat\ndog",
        },
    )
    assert (plain.kind, plain.dialect.format) == ("images", "masks")
    assert (opened(plain.table.blobs("mask")[0]) == numbers).all()
    assert json.loads(values(plain, "mask_classes")[0]) == ["none", "cat", "dog"]
    binary = of(
        tmp_path, {"images/1.png": picture(1), "masks/1.png": encoded(np.where(numbers == 2, 255, 0).astype(np.uint8))}
    )
    assert (opened(binary.table.blobs("mask")[0]) == (numbers == 2)).all()
    colours = np.zeros((16, 24, 3), np.uint8)
    colours[4:8, 6:12] = (255, 0, 0)
    coloured = of(
        tmp_path, {"images/1.png": picture(1), "masks/1.png": encoded(colours), "masks/9.png": encoded(colours)}
    )
    assert (opened(coloured.table.blobs("mask")[0]) == (numbers == 2)).all()
    assert json.loads(values(coloured, "mask_classes")[0]) == ["#000000", "#ff0000"]
    assert set(said(coloured)) >= {"mask_size", "unmatched_mask"}
