"""Pictures as they are kept: the file's own bytes, unless it is rotated, deep, in printing colours or very large."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assay.data.images.notes import Notes
from assay.data.pixels import TooLarge, Unreadable, as_rgb, is_deep, open_picture, orientation, shallow, turned
from assay.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

SIDES = ((5_000, 1024), (20_000, 512), (80_000, 320))  # (pictures at most, longer side kept); 224 beyond
_PLAIN_MODES = ("1", "L", "P", "RGB", "RGBA", "LA", "PA")
_JPEG_QUALITY = 92


@dataclass(frozen=True)
class Picture:
    """A stored picture.  width, height: of the stored file; original: (width, height) of what boxes refer to."""

    data: bytes
    width: int
    height: int
    original: tuple[int, int]
    grey: bool


def side_for(n: int) -> int:
    """The longest side of a kept picture, so that many pictures still fit into memory."""
    return next((side for most, side in SIDES if n <= most), 224)


def keep(
    data: bytes, name: str, side: int, notes: Notes, declared: tuple[int, int] | None, file: str
) -> Picture | None:
    """The picture as it is stored, or None when it cannot be read (noted).

    declared: (width, height) that annotations were made for; they decide whether EXIF's turn belongs to the picture.
    Raises DataError with the name for a picture of so many pixels that it is taken for a bomb.
    """
    try:
        image = open_picture(data)
    except Unreadable as error:
        notes.add("unreadable_image", name, str(error)[:80])
        return None
    except TooLarge as error:
        raise DataError(f"{file}: {name!r} has {error}; scale it down", file=file, code="dataset_too_large") from None
    form, grey = image.format, image.mode in ("1", "L", "LA") or is_deep(image)
    changed = False
    if orientation(image) != 1:
        flat = declared is not None and declared == image.size and turned(image).size != declared
        if not flat:
            image = turned(image)
            notes.add("rotated_image", name)
        changed = True
    if is_deep(image):
        notes.add("converted_image", name, f"{image.mode}, more than 8 bits")
        image, changed = shallow(image), True
    elif image.mode not in _PLAIN_MODES:
        notes.add("converted_image", name, image.mode)
        image, changed = as_rgb(image), True
    original = image.size
    longest = max(image.size)
    if longest > side:
        notes.add("scaled_image", name, f"{image.width} x {image.height}")
        image, changed = _scaled(image, side), True
    kept = _encoded(image, form) if changed else data
    return Picture(kept, image.width, image.height, original, grey)


def _scaled(image: Image.Image, side: int) -> Image.Image:
    from PIL import Image as Pillow

    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    smooth = image if image.mode in ("L", "RGB") else as_rgb(image)
    return smooth.resize(size, Pillow.Resampling.BILINEAR, reducing_gap=3.0)


def _encoded(image: Image.Image, form: str | None) -> bytes:
    """What came as JPEG goes on as JPEG; everything else as PNG."""
    out = io.BytesIO()
    if form in ("JPEG", "MPO") and image.mode in ("L", "RGB"):
        image.save(out, "JPEG", quality=_JPEG_QUALITY)
    else:
        image.info.pop("exif", None)
        image.save(out, "PNG", exif=b"", compress_level=4)
    return out.getvalue()
