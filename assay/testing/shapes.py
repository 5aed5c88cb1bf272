"""Pictures of boxes and discs on noise, with their boxes and masks: small data that detectors and segmenters can learn."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np

from assay.data.table import Blobs, ColumnType, Table, Words

CLASSES = ("box", "disc")
COLOURS = ((220, 60, 40), (50, 90, 230))


def shapes(
    n: int, seed: int = 0, side: tuple[int, int] = (64, 96)
) -> tuple[list[bytes], list[list[dict[str, object]]], list[bytes]]:
    """n PNG files, what is in them, and their masks (0 background, then CLASSES) as PNG files.  side: least and most."""
    from PIL import Image, ImageDraw

    rng = np.random.default_rng(seed)
    files, things, masks = [], [], []
    for _ in range(n):
        width, height = (int(v) for v in rng.integers(side[0], side[1] + 1, 2))
        picture = Image.fromarray(rng.integers(0, 110, (height, width, 3)).astype(np.uint8))
        mask = Image.new("L", (width, height), 0)
        told: list[dict[str, object]] = []
        for _ in range(int(rng.integers(1, 3))):
            kind = int(rng.integers(2))
            w, h = (int(v) for v in rng.integers(side[0] // 4, side[0] // 2, 2))
            x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
            for pen, colour in ((ImageDraw.Draw(picture), COLOURS[kind]), (ImageDraw.Draw(mask), kind + 1)):
                (pen.rectangle if kind == 0 else pen.ellipse)([x, y, x + w - 1, y + h - 1], fill=colour)
            told.append({"label": CLASSES[kind], "box": [x, y, w, h]})
        files.append(_png(picture))
        masks.append(_png(mask))
        things.append(told)
    return files, things, masks


def shapes_table(n: int, seed: int = 0, side: tuple[int, int] = (64, 96)) -> Table:
    """The table that an archive of such pictures becomes, with boxes and masks both."""
    files, things, masks = shapes(n, seed, side)
    names = json.dumps(["background", *CLASSES])
    return Table(
        {
            "image": Blobs.of(files),
            "path": Words.of([f"{i:04}.png" for i in range(n)]),
            "boxes": Words.of([json.dumps(t) for t in things]),
            "mask": Blobs.of(masks),
            "mask_classes": Words.of([names] * n),
        },
        {
            "image": ColumnType.IMAGE, "path": ColumnType.ID, "boxes": ColumnType.TEXT, "mask": ColumnType.IMAGE,
            "mask_classes": ColumnType.CONSTANT,
        },
    )  # fmt: skip


def coco_zip(path: Path, n: int, seed: int = 0) -> Path:
    """Pictures with COCO annotations."""
    from assay.vision.truth import picture_size

    files, things, _ = shapes(n, seed)
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    with zipfile.ZipFile(path, "w") as archive:
        for i, (data, told) in enumerate(zip(files, things, strict=True)):
            archive.writestr(f"images/{i:04}.png", data)
            width, height = picture_size(data)
            images.append({"id": i, "file_name": f"{i:04}.png", "width": width, "height": height})
            for thing in told:
                kind = CLASSES.index(str(thing["label"]))
                annotations.append({"id": len(annotations), "image_id": i, "category_id": kind, "bbox": thing["box"]})
        categories = [{"id": i, "name": c} for i, c in enumerate(CLASSES)]
        archive.writestr(
            "annotations.json", json.dumps({"images": images, "annotations": annotations, "categories": categories})
        )
    return path


def masks_zip(path: Path, n: int, seed: int = 0) -> Path:
    """Pictures beside a folder of masks."""
    files, _, masks = shapes(n, seed)
    with zipfile.ZipFile(path, "w") as archive:
        for i, (data, mask) in enumerate(zip(files, masks, strict=True)):
            archive.writestr(f"images/{i:04}.png", data)
            archive.writestr(f"masks/{i:04}.png", mask)
        archive.writestr("classes.txt", "\n".join(["background", *CLASSES]))
    return path


def _png(image: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")  # type: ignore[attr-defined]
    return out.getvalue()
