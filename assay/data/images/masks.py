"""Masks as one channel of class numbers, whatever they came as: palette, grey values or colours."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from assay.data.images.layout import Layout
from assay.data.images.members import Members
from assay.data.images.notes import Notes
from assay.data.pixels import TooLarge, Unreadable, is_deep, open_picture
from assay.errors import DataError

IGNORED = 255  # pixels of this number belong to no class
MAX_CLASSES = 255
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Code:
    """How pixel values become class numbers.  table: number by grey value or palette entry, uint8 (256,); colours: by
    RGB value; names: of the classes in order."""

    table: np.ndarray
    colours: Mapping[Colour, int]
    names: tuple[str, ...]


def code_of(layout: Layout, members: Members, notes: Notes) -> tuple[Code, dict[str, str]]:
    """The one code of all masks, and the masks that can be read, by picture.

    Grey values and palette entries are class numbers as they stand, 255 is nobody's; masks of 0 and 255 alone hold one
    class and background.  Colours are numbered as a label map says, else by their value, black first.
    """
    values: set[int] = set()
    colours: set[Colour] = set()
    readable: dict[str, str] = {}
    for picture, name in layout.masks.items():
        pixels = _pixels(members, name, notes)
        if pixels is None:
            continue
        readable[picture] = name
        if pixels.ndim == 2:
            values.update(np.unique(pixels).tolist())
        else:
            packed = np.unique(pixels.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1]))
            if len(packed) > MAX_CLASSES or len(colours) > MAX_CLASSES:
                message = f"{members.file}: the mask {name!r} has {len(packed)} colours; at most {MAX_CLASSES} classes are read"
                raise DataError(message, file=members.file)
            colours.update((int(v) >> 16, int(v) >> 8 & 255, int(v) & 255) for v in packed)
    named, by_colour = _names(layout, members)
    table = np.arange(256, dtype=np.uint8)
    if values and values <= {0, 255} and not named:
        table[255] = 1
        values, named = {0, 1}, ("background", "foreground")
    if colours:
        order = sorted(colours)
        codes = {c: by_colour[c] for c in order if c in by_colour}
        free = [i for i in range(MAX_CLASSES) if i not in set(by_colour.values())]
        codes |= dict(zip([c for c in order if c not in codes], free, strict=False))
        names = {i: named[i] if c in by_colour and i < len(named) else "#{:02x}{:02x}{:02x}".format(*c)
                 for c, i in codes.items()}  # fmt: skip
        known = tuple(names.get(i, named[i] if i < len(named) else str(i)) for i in range(max(names) + 1))
        return Code(table, codes, known), readable
    top = max((v for v in values if v != IGNORED), default=0)
    return Code(table, {}, tuple(named[i] if i < len(named) else str(i) for i in range(top + 1))), readable


def encode(
    code: Code, members: Members, name: str, size: tuple[int, int], original: tuple[int, int], notes: Notes
) -> bytes | None:
    """The mask as a PNG of class numbers, (width, height) as its stored picture.  None if it cannot be read."""
    from PIL import Image

    pixels = _pixels(members, name, Notes())  # noted before
    if pixels is None:
        return None
    if pixels.ndim == 2:
        numbers = code.table[pixels]
    else:
        numbers = np.full(pixels.shape[:2], IGNORED, np.uint8)
        packed = pixels.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
        for (r, g, b), value in code.colours.items():
            numbers[packed == (r << 16 | g << 8 | b)] = value
    image = Image.fromarray(numbers)
    if image.size != original:
        notes.add("mask_size", name, f"{image.width} x {image.height} for {original[0]} x {original[1]}")
    if image.size != size:
        image = image.resize(size, Image.Resampling.NEAREST)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _pixels(members: Members, name: str, notes: Notes) -> np.ndarray | None:
    """uint8 (h, w) of numbers, or (h, w, 3) of colours; a picture of greys alone is taken for numbers."""
    try:
        image = open_picture(members.read(name))
    except (Unreadable, TooLarge) as error:
        notes.add("unreadable_image", name, str(error)[:80])
        return None
    if image.mode in ("P", "L"):
        return np.asarray(image)
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8)
    if is_deep(image):
        values = np.asarray(image)
        if values.max(initial=0) > 255 or values.min(initial=0) < 0:
            notes.add("unreadable_image", name, "class numbers above 255")
            return None
        return values.astype(np.uint8)
    found = np.asarray(image.convert("RGB"))
    grey = bool((found[..., 0] == found[..., 1]).all() and (found[..., 1] == found[..., 2]).all())
    return np.asarray(found[..., 0] if grey else found)


def _names(layout: Layout, members: Members) -> tuple[tuple[str, ...], dict[Colour, int]]:
    """Class names of a text file, one a line; a line `name:r,g,b::` (a label map) gives its colour as well."""
    for name in layout.class_files:
        lines = [x.strip() for x in members.read(name).decode("utf-8-sig", "replace").splitlines()]
        lines = [x for x in lines if x and not x.startswith("#")]
        if lines and lines[0].lower() in ("__ignore__", "_ignore_"):
            lines = lines[1:]
        if PurePosixPath(name).name.lower() != "labelmap.txt":
            return tuple(lines), {}
        colours: dict[Colour, int] = {}
        for i, line in enumerate(lines):
            parts = line.split(":")
            rgb = parts[1].split(",") if len(parts) > 1 else []
            if len(rgb) == 3 and all(p.strip().isdigit() for p in rgb):
                colours[(int(rgb[0]), int(rgb[1]), int(rgb[2]))] = i
        return tuple(x.split(":")[0] for x in lines), colours
    return (), {}


def names_json(names: Sequence[str]) -> str:
    import json

    return json.dumps(list(names), ensure_ascii=False)
