"""One picture file as upright RGB pixels, the same in training and in serving.

The module travels in the bundle: numpy and the standard library only, Pillow inside functions.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "MPO")  # of Pillow's names; the rest is not opened
MAX_PIXELS = 120_000_000  # of one picture, before it is decoded
_ORIENTATION = 0x0112  # the tag of EXIF
_DEEP_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")


class Unreadable(ValueError):
    """The bytes are no picture, or one that is cut off."""


class TooLarge(ValueError):
    """The picture announces more pixels than are decoded."""


def open_picture(data: bytes, side: int | None = None) -> Image.Image:
    """The decoded picture as it is stored, first frame.  Raises Unreadable or TooLarge.

    side: a JPEG much larger than this may be decoded at half, a quarter or an eighth of its size, which is quicker.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata and large pictures; the size is checked here
            image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
            if image.width * image.height > MAX_PIXELS:
                raise TooLarge(f"{image.width} x {image.height} pixels; at most {MAX_PIXELS:,} are decoded")
            if side is not None and image.format == "JPEG":
                image.draft(None, (side, side))
            image.load()
    except TooLarge:
        raise
    except Image.DecompressionBombError as error:
        raise TooLarge(str(error)) from None
    except (UnidentifiedImageError, KeyError):  # the latter for a format whose reader was not needed so far
        raise Unreadable("no picture of a known format") from None
    except Exception as error:  # Pillow's decoders raise whatever they meet in damaged files
        raise Unreadable(str(error)[:200] or type(error).__name__) from None
    if not image.width or not image.height:
        raise Unreadable("it has no pixels")
    return image


def orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 (upright) to 8; 1 where nothing is said or what is said makes no sense."""
    try:
        value = int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF data
        return 1
    return value if 1 <= value <= 8 else 1


def turned(image: Image.Image) -> Image.Image:
    """The picture upright."""
    from PIL import Image

    way = Image.Transpose
    turns = {
        2: way.FLIP_LEFT_RIGHT, 3: way.ROTATE_180, 4: way.FLIP_TOP_BOTTOM, 5: way.TRANSPOSE, 6: way.ROTATE_270,
        7: way.TRANSVERSE, 8: way.ROTATE_90,
    }  # fmt: skip
    turn = turns.get(orientation(image))
    return image if turn is None else image.transpose(turn)


def is_deep(image: Image.Image) -> bool:
    """More than eight bits a channel."""
    return image.mode in _DEEP_MODES


def shallow(image: Image.Image) -> Image.Image:
    """A picture with more than eight bits as eight bits of grey.

    The depth in use is taken for 8, 10, 12, 14 or 16 bits by the brightest pixel; numbers with fractions are taken for
    shares of white if none is above one.
    """
    from PIL import Image

    if not is_deep(image):
        return image
    values = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0.0, neginf=0.0)
    top = float(values.max(initial=0.0))
    if image.mode == "F" and top <= 1.0:
        full = 1.0
    else:
        full = float(next((2**bits - 1 for bits in (8, 10, 12, 14, 16) if top < 2**bits), top))
    return Image.fromarray(np.clip(values * (255.0 / full) + 0.5, 0.0, 255.0).astype(np.uint8))


def as_rgb(image: Image.Image) -> Image.Image:
    """Any mode as RGB; what shows through is white."""
    from PIL import Image

    image = shallow(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or (image.mode == "P" and "transparency" in image.info):
        full = image.convert("RGBA")
        image = Image.new("RGBA", full.size, (255, 255, 255, 255))
        image.alpha_composite(full)
    return image if image.mode == "RGB" else image.convert("RGB")


def rgb(data: bytes, side: int | None = None) -> Image.Image:
    """A file as an upright RGB picture.  side: as in `open_picture`.  Raises Unreadable or TooLarge."""
    return as_rgb(turned(open_picture(data, side)))
