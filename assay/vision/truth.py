"""What annotations say, in the square that nets see: boxes in shares of its side, masks as class numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from assay.data.front_image import inner_size
from assay.data.table import Blobs, Table
from assay.errors import DataError
from assay.metrics.detection import Things
from assay.metrics.segmentation import IGNORED
from assay.vision.answers import picture_size

BACKGROUND = "background"
FLAGS = ("crowd", "difficult")
FINER = 5  # times the resolution of the square at which outlines are drawn: odd, so that pixels have a middle one


def read_things(text: str, row: int) -> list[dict[str, Any]]:
    """The list of a cell of `boxes`.  Raises DataError with the row."""
    try:
        found = json.loads(text)
        for thing in found:
            str(thing["label"])
            if len(thing["box"]) != 4 or not all(np.isfinite(float(v)) for v in thing["box"]):
                raise ValueError("a box is [x, y, width, height]")
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"row {row + 1} of 'boxes' is not a JSON list of {{\"label\", \"box\": [x, y, width, height]}}: {error}",
            row=row + 1, column="boxes", code="schema_mismatch",
        ) from None  # fmt: skip
    return list(found)


def things_of(read: Sequence[dict[str, Any]], classes: Sequence[str], size: tuple[int, int]) -> Things:
    """Boxes in shares of the longer side of the picture, whose size is (width, height)."""
    side = float(max(*size, 1))
    code = {c: i for i, c in enumerate(classes)}
    kept = [t for t in read if str(t["label"]) in code and t["box"][2] > 0 and t["box"][3] > 0]
    boxes = np.array([t["box"] for t in kept], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    limit = np.array([size[0], size[1]] * 2, np.float64)
    return Things(
        np.clip(boxes, 0, limit) / side,
        np.array([code[str(t["label"])] for t in kept], np.int64),
        np.array([any(t.get(f) for f in FLAGS) for t in kept], bool),
    )


def square_mask(mask: np.ndarray, side: int) -> np.ndarray:
    """Class numbers (h, w) in the letterbox of the front, 255 in its bars.  uint8 (side, side)."""
    from PIL import Image

    height, width = mask.shape
    w, h = inner_size(width, height, side)
    out = np.full((side, side), IGNORED, np.uint8)
    out[:h, :w] = np.asarray(Image.fromarray(mask).resize((w, h), Image.Resampling.NEAREST))
    return out


def drawn_mask(read: Sequence[dict[str, Any]], classes: Sequence[str], size: tuple[int, int], side: int) -> np.ndarray:
    """Outlines filled in the square, later things over earlier ones; things without an outline fill their box.

    A pixel is what its middle is inside of.  Pillow fills every pixel that an outline touches, half a pixel too much on all
    sides, so that outlines are drawn FINER times as large.
    """
    from PIL import Image, ImageDraw

    width, height = size
    w, h = inner_size(width, height, side)
    scale = FINER * side / max(width, height)
    image = Image.new("L", (FINER * w, FINER * h), 0)
    pen = ImageDraw.Draw(image)
    code = {c: i for i, c in enumerate(classes)}
    for thing in read:
        if str(thing["label"]) not in code:
            continue
        value = IGNORED if thing.get("crowd") else code[str(thing["label"])]
        x, y, bw, bh = thing["box"]
        outlines = thing.get("polygons") or [[x, y, x + bw, y, x + bw, y + bh, x, y + bh]]
        for outline in outlines:
            points = [(outline[i] * scale - 0.5, outline[i + 1] * scale - 0.5) for i in range(0, len(outline) - 1, 2)]
            if len(points) >= 3:
                pen.polygon(points, fill=value)
    out = np.full((side, side), IGNORED, np.uint8)
    out[:h, :w] = np.asarray(image)[FINER // 2 :: FINER, FINER // 2 :: FINER]
    return out


def read_mask(data: bytes) -> np.ndarray | None:
    """A PNG of class numbers, uint8 (h, w); None if it cannot be read."""
    from assay.data.pixels import TooLarge, Unreadable, open_picture

    try:
        found = np.asarray(open_picture(data))
    except (Unreadable, TooLarge):
        return None
    return found.astype(np.uint8) if found.ndim == 2 else None


def sizes_of(table: Table) -> dict[str, np.ndarray]:
    """`size`: int64 (n, 2), width and height of every picture; zeros for one that cannot be read."""
    column = table.columns["image"]
    if not isinstance(column, Blobs):
        raise TypeError("the pictures are files")
    return {"size": np.array([picture_size(f) for f in column], np.int64).reshape(-1, 2)}


__all__ = [
    "BACKGROUND",
    "drawn_mask",
    "picture_size",
    "read_mask",
    "read_things",
    "sizes_of",
    "square_mask",
    "things_of",
]
