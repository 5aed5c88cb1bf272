"""A graph's boxes and masks as people get them: in pixels of the picture that was sent.

numpy and the standard library, with Pillow inside functions, because the module travels in the bundle.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

SHOWN = 0.05  # boxes below this score are not answered


def boxes_answers(outputs: Mapping[str, np.ndarray], classes: Sequence[str], side: int) -> list[dict[str, Any]]:
    """{"value": [{"label", "score", "box": [x, y, width, height]}], "size": [width, height]} a picture, the surest first.

    outputs: boxes (n, M, 4) in pixels of the square, scores (n, M), labels (n, M), and size (n, 2) of the pictures.  A
    picture that could not be read has no boxes and size [0, 0].
    """
    found = []
    for boxes, scores, labels, size in zip(
        outputs["boxes"], outputs["scores"], outputs["labels"], outputs["size"], strict=True
    ):
        width, height = (int(v) for v in size)
        scale = max(width, height) / side
        told = []
        for box, score, label in zip(boxes, scores, labels, strict=True):
            if score < SHOWN or not width:
                continue
            x0, y0 = float(np.clip(box[0] * scale, 0, width)), float(np.clip(box[1] * scale, 0, height))
            x1, y1 = float(np.clip(box[2] * scale, 0, width)), float(np.clip(box[3] * scale, 0, height))
            if x1 > x0 and y1 > y0:
                place = [round(v, 2) for v in (x0, y0, x1 - x0, y1 - y0)]
                told.append({"label": classes[int(label)], "score": round(float(score), 5), "box": place})
        found.append({"value": told, "size": [width, height]})
    return found


def mask_answers(outputs: Mapping[str, np.ndarray], classes: Sequence[str], side: int) -> list[dict[str, Any]]:
    """{"value": {"size": [height, width], "counts": {class: runs}, "shares": {class: share}, "png": base64}} a picture.

    counts: COCO's uncompressed run lengths (down the columns, background first) of every class that is there.  png: the
    mask as a picture of class numbers.
    """
    found = []
    for square, size in zip(outputs["mask"], outputs["size"], strict=True):
        mask = original_mask(square, (int(size[0]), int(size[1])))
        there = [int(c) for c in np.unique(mask)] if mask.size else []
        value = {
            "size": list(mask.shape),
            "counts": {classes[c]: runs(mask == c) for c in there},
            "shares": {classes[c]: round(float((mask == c).mean()), 6) for c in there},
            "png": base64.b64encode(mask_png(mask)).decode() if mask.size else "",
        }
        found.append({"value": value})
    return found


def original_mask(square: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mask of a letterbox, uint8 (side, side), for its picture of (width, height): uint8 (height, width).

    Every class is grown by itself, bilinear, and a pixel is of the class that has most of it: edges without steps.
    """
    from PIL import Image

    width, height = size
    if not width or not height:
        return np.zeros((0, 0), np.uint8)
    side = len(square)
    scale = side / max(width, height)
    inner = (max(1, min(side, round(width * scale))), max(1, min(side, round(height * scale))))
    small = np.ascontiguousarray(square[: inner[1], : inner[0]], np.uint8)
    there = np.unique(small)
    out, most = np.full((height, width), there[0], np.uint8), np.zeros((height, width), np.uint8)
    for c in there if len(there) > 1 else ():
        image = Image.fromarray(np.where(small == c, 255, 0).astype(np.uint8))
        share = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
        out[share > most] = c
        np.maximum(most, share, out=most)
    return out


def runs(mask: np.ndarray) -> list[int]:
    """COCO's run lengths of a bool (height, width)."""
    flat = np.asarray(mask, bool).T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff(np.concatenate([[0], edges, [len(flat)]])).tolist()
    return [0, *lengths] if len(flat) and flat[0] else lengths


def mask_png(mask: np.ndarray) -> bytes:
    """Class numbers with a palette, so that the picture can be looked at."""
    from PIL import Image

    height, width = mask.shape
    image = Image.frombytes("P", (width, height), mask.astype(np.uint8).tobytes())
    image.putpalette([v for c in range(256) for v in colour(c)])
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def colour(c: int) -> tuple[int, int, int]:
    """Of a class number: those of Pascal VOC, which differ most for small numbers."""
    rgb = [0, 0, 0]
    for bit in range(8):
        for k in range(3):
            rgb[k] |= ((c >> k) & 1) << (7 - bit)
        c >>= 3
    return rgb[0], rgb[1], rgb[2]


def picture_size(data: bytes | None) -> tuple[int, int]:
    """(width, height) upright, read from the head of the file; (0, 0) for a missing or unreadable one."""
    from PIL import Image

    from assay.data.pixels import FORMATS, orientation

    if not data:
        return 0, 0
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        turned = orientation(image) >= 5
        return (image.height, image.width) if turned else (image.width, image.height)
    except Exception:  # whatever Pillow's decoders raise at damaged heads
        return 0, 0
