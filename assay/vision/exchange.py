"""Answers in the formats that other tools read: COCO's JSON, and masks as PNG files in a zip."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from assay.vision.answers import runs

MEDIA = {"coco": "application/json", "masks": "application/zip"}  # by the name of the format


def coco(predictions: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> dict[str, Any]:
    """As COCO's annotation files are, with `score` where there is one.  predictions: answers of one request, each perhaps
    with the `name` of its picture.  Masks are run lengths, one annotation for every class that is there but the first."""
    number = {c: i + 1 for i, c in enumerate(classes)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for i, told in enumerate(predictions):
        value = told["value"]
        boxes = isinstance(value, list)
        width, height = told["size"] if boxes else value["size"][::-1] or (0, 0)
        images.append({"id": i + 1, "file_name": told.get("name") or f"{i + 1}", "width": width, "height": height})
        for thing in value if boxes else _areas(value, classes):
            box = thing["box"]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i + 1,
                    "category_id": number[thing["label"]],
                    "bbox": box,
                    "area": thing.get("area", round(box[2] * box[3], 2)),
                    "iscrowd": 0,
                }
                | {k: thing[k] for k in ("score", "segmentation") if k in thing}
            )
    categories = [{"id": number[c], "name": c} for c in classes]
    return {"images": images, "categories": categories, "annotations": annotations}


def render(format: str, predictions: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> bytes:
    """The answers of one request as a file.  format: a key of MEDIA; "masks" is for segmentation alone.

    A picture that could not be read has no mask there; `unreadable.txt` names it.
    """
    if format == "coco":
        return json.dumps(coco(predictions, classes), ensure_ascii=False).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        taken: set[str] = set()
        unreadable: list[str] = []
        for i, told in enumerate(predictions):
            if not told["value"]["png"]:
                unreadable.append(str(told.get("name") or i + 1))
                continue
            stem = str(told.get("name") or i + 1).rsplit(".", 1)[0].replace("\\", "/").lstrip("/").replace("../", "")
            name = f"{stem}.png" if f"{stem}.png" not in taken else f"{stem}-{i + 1}.png"
            taken.add(name)
            archive.writestr(name, base64.b64decode(told["value"]["png"]))
        archive.writestr("classes.txt", "\n".join(classes) + "\n")
        if unreadable:
            archive.writestr("unreadable.txt", "\n".join(unreadable) + "\n")
    return out.getvalue()


def _areas(value: Mapping[str, Any], classes: Sequence[str]) -> list[dict[str, Any]]:
    """What is there of every class but the first, as things with a box around all of it."""
    from assay.data.images.outlines import decode_runs

    found = []
    for label in classes[1:]:
        if label not in value["counts"]:
            continue
        mask = decode_runs({"size": value["size"], "counts": value["counts"][label]})
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
        coded = {"size": list(value["size"]), "counts": runs(mask)}
        found.append({"label": label, "box": [int(v) for v in box], "area": int(mask.sum()), "segmentation": coded})
    return found
