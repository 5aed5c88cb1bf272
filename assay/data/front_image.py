"""Pictures as pixels: files decoded, turned upright and brought to one size.

Bilinear scaling with the support grown to the step (Pillow's), so that shrinking does not alias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from assay.data.pixels import TooLarge, Unreadable, rgb
from assay.data.table import Blobs, Column

FITS = ("stretch", "letterbox")
GREY = 114  # of the bars of a letterbox, the usual value of detectors


@dataclass(frozen=True)
class ImageFront:
    """size: of the square, in pixels.  fit "stretch": both sides scaled to it; "letterbox": the longer one, with grey
    bars after it on the right or below, so that a point (x, y) of the file is at (x, y) * size / longer side."""

    size: int
    fit: str = "stretch"
    kind: ClassVar[str] = "image"
    dtype: ClassVar[str] = "uint8"

    def __post_init__(self) -> None:
        if self.fit not in FITS or self.size < 1:
            raise ValueError(f"a front for pictures needs a size and a fit of {FITS}, not {self.size!r}, {self.fit!r}")

    @property
    def shape(self) -> tuple[int | None, ...]:
        return (self.size, self.size, 3)

    @property
    def about(self) -> str:
        how = "stretched to" if self.fit == "stretch" else f"scaled into (upper left, grey {GREY} beside it)"
        return (
            f"a picture file (PNG, JPEG, ...), turned upright as EXIF says, as RGB, {how} {self.size} x {self.size} "
            f"pixels: uint8, rows, columns, channels; zeros for a missing or unreadable one"
        )

    def encode(self, column: Column) -> np.ndarray:
        """uint8 (n, size, size, 3); zeros where missing or no picture."""
        if isinstance(column, Decoded) and column.front == self:
            return column.pixels
        if not isinstance(column, Blobs):
            raise TypeError("pictures are files; this column holds numbers or words")
        return decode(self, column)[0].pixels

    def pixels(self, data: bytes) -> np.ndarray | None:
        """uint8 (size, size, 3) of one file; None if it is no readable picture."""
        from PIL import Image

        try:
            image = rgb(data, self.size)
        except (Unreadable, TooLarge):
            return None
        if self.fit == "stretch":
            if image.size != (self.size, self.size):
                image = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
            return np.asarray(image)
        width, height = inner_size(image.width, image.height, self.size)
        boxed = np.full((self.size, self.size, 3), GREY, np.uint8)
        boxed[:height, :width] = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
        return boxed

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "size": self.size, "fit": self.fit}


@dataclass(frozen=True, eq=False)
class Decoded(Blobs):
    """Files with the pixels that a front makes of them, so that decoding is done once a job.

    pixels: uint8 (n, size, size, 3).
    """

    pixels: np.ndarray
    front: ImageFront

    def take(self, rows: np.ndarray) -> Decoded:
        return Decoded(super().take(rows).array, self.pixels[rows], self.front)

    @staticmethod
    def by(front: ImageFront, files: Blobs) -> Decoded:
        return decode(front, files)[0]


def decode(front: Any, files: Blobs) -> tuple[Decoded, list[int]]:
    """The files with their pixels, and the rows of those that are no readable pictures.  front: an ImageFront."""
    assert isinstance(front, ImageFront)
    unreadable: list[int] = []
    out = pixels_of(front, list(files), unreadable)
    return Decoded(files.array, out, front), unreadable


def pixels_of(front: ImageFront, files: Sequence[bytes | None], unreadable: list[int] | None = None) -> np.ndarray:
    """uint8 (n, size, size, 3).  unreadable: gets the rows of those that are no pictures."""
    out = np.zeros((len(files), front.size, front.size, 3), np.uint8)
    for i, data in enumerate(files):
        pixels = None if data is None else front.pixels(data)
        if pixels is not None:
            out[i] = pixels
        elif data is not None and unreadable is not None:
            unreadable.append(i)
    return out


def inner_size(width: int, height: int, size: int) -> tuple[int, int]:
    """Of the picture inside a letterbox: the longer side becomes `size`."""
    scale = size / max(width, height)
    return max(1, min(size, round(width * scale))), max(1, min(size, round(height * scale)))


def read(data: Mapping[str, Any]) -> ImageFront:
    """From `to_json`."""
    return ImageFront(int(data["size"]), str(data.get("fit", "stretch")))
