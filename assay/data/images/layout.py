"""Which layout an archive of pictures has, by its names and the heads of its annotation files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from assay.data.images.members import MAX_NOTE_BYTES, Members
from assay.errors import DataError

PICTURES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm", ".jfif"}
)
NAMES = frozenset({"class_names.txt", "classes.txt", "labels.txt", "labelmap.txt", "names.txt", "obj.names"})
MASK_FOLDERS = frozenset(
    {"masks", "mask", "segmentationclass", "segmentationclasspng", "labels", "gt", "segmentation", "groundtruth",
     "ground_truth", "annotations", "labelids", "seg"}
)  # fmt: skip
PICTURE_FOLDERS = frozenset({"images", "image", "imgs", "img", "pictures", "photos", "jpegimages", "data"})
OTHER_MASKS = frozenset({"segmentationobject", "segmentationobjectpng", "segmentationclassvisualization",
                         "segmentationobjectvisualization"})  # fmt: skip
_BESIDE = re.compile(  # `1_mask.png` is of `1.png`
    r"(.+?)[ _-](?:masks?|seg|segmentation|gt|groundtruth|labelids|annotation)(?:[ _-]?\d+)?", re.IGNORECASE
)
_SPLIT = re.compile(r"(train|training|trn|val|valid|validation|dev|test|testing)(?:[_-]?(?:set|\d{4}))?", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Layout:
    """format: imagefolder, coco, voc or masks.  documents: COCO files by name; notes: VOC's XML files; masks: names of
    class masks by the name of their picture; tables: names of csv files, which may tell of the pictures."""

    format: str
    pictures: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    documents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    masks: Mapping[str, str] = field(default_factory=dict)
    unmatched: tuple[str, ...] = ()
    class_files: tuple[str, ...] = ()
    split_files: tuple[str, ...] = ()  # VOC's ImageSets
    tables: tuple[str, ...] = ()


def is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in PICTURES


def split_named(part: str) -> str | None:
    """ "train", "val" or "test" for a folder (or the word of a file name) that says so."""
    found = _SPLIT.fullmatch(part)
    if found is None:
        return None
    word = found[1].lower()
    return "train" if word.startswith("tr") else "test" if word.startswith("te") else "val"


def split_in(folders: Iterable[str]) -> str | None:
    """The split that one of the folders names."""
    return next((s for s in map(split_named, folders) if s is not None), None)


def layout_of(members: Members) -> Layout:
    """Raises DataError when there is no picture, or when annotations cannot be parsed."""
    names = list(members.sizes)
    pictures = [n for n in names if is_picture(n)]
    if not pictures:
        raise DataError(f"{members.file}: there is no picture in it", file=members.file)
    class_files = tuple(n for n in names if PurePosixPath(n).name.lower() in NAMES)
    sets = tuple(n for n in names if n.endswith(".txt") and "imagesets" in n.lower().split("/"))
    rest = [n for n in names if not is_picture(n) and n not in class_files and n not in sets]
    documents = _documents(members, rest)
    notes = tuple(n for n in rest if n.lower().endswith(".xml") and b"<annotation" in members.read(n)[:2000])
    masks, unmatched, plain = _masks(pictures)
    tables = tuple(n for n in rest if n.lower().endswith((".csv", ".tsv")))
    used = {*documents, *notes, *tables}
    ignored = tuple(n for n in rest if n not in used) + members.skipped
    if documents:
        return Layout("coco", tuple(plain), ignored, documents, (), {}, (), class_files, tables=tables)
    if notes:
        return Layout("voc", tuple(plain), ignored, {}, notes, masks, unmatched, class_files, sets, tables)
    if masks:
        return Layout("masks", tuple(plain), ignored, {}, (), masks, unmatched, class_files, sets, tables)
    return Layout("imagefolder", tuple(pictures), ignored, class_files=class_files, tables=tables)


def _documents(members: Members, names: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """The COCO files: JSON objects with `images` and `annotations`."""
    found: dict[str, Mapping[str, Any]] = {}
    for name in names:
        if not name.lower().endswith(".json"):
            continue
        data = members.read(name, MAX_NOTE_BYTES)
        # a file that is cut off may lack the annotations, and must not pass for one about something else
        looks = b'"images"' in data and (b'"annotations"' in data or b'"file_name"' in data)
        try:
            document = json.loads(data.decode("utf-8-sig")) if looks else None
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{members.file}: {name!r} looks like COCO annotations and is no valid JSON ({error})",
                file=members.file,
            ) from None
        if (
            isinstance(document, dict)
            and isinstance(document.get("images"), list)
            and isinstance(document.get("annotations"), list)
        ):
            found[name] = document
    return found


def _masks(pictures: list[str]) -> tuple[dict[str, str], tuple[str, ...], list[str]]:
    """(mask by picture, masks without a picture, the pictures that are no masks).

    A mask is a PNG (or TIFF, BMP, GIF) in a folder that says so, beside a folder with pictures of the same names, or one
    that is called as another picture with `_mask` (or `_segmentation`, ...) behind; if hardly any name matches, they are something else.
    """
    inside: list[str] = []
    other: list[str] = []
    plain: list[str] = []
    stems = {_stem(n) for n in pictures}
    for name in pictures:
        folders = {p.lower() for p in PurePosixPath(name).parent.parts}
        lossless = not name.lower().endswith((".jpg", ".jpeg", ".jfif", ".webp"))
        if folders & OTHER_MASKS:
            other.append(name)
        elif lossless and (folders & MASK_FOLDERS or _is_beside(name, stems)):
            inside.append(name)
        else:
            plain.append(name)
    by_stem: dict[str, list[str]] = {}
    for name in plain:
        by_stem.setdefault(_stem(name), []).append(name)
    masks: dict[str, str] = {}
    unmatched: list[str] = []
    for name in inside:
        twins = by_stem.get(_stem(name)) or by_stem.get(_bare(_stem(name)), [])
        best = max(twins, key=lambda p: _alike(p, name), default=None)
        if best is None or best in masks:
            unmatched.append(name)
        else:
            masks[best] = name
    if not masks or len(masks) < 0.5 * len(inside):
        return {}, (), pictures
    return masks, tuple(unmatched), plain


def _stem(name: str) -> str:
    return PurePosixPath(name).stem.lower()


def _alike(a: str, b: str) -> int:
    """How many folders two names share, splits counting most."""
    x, y = PurePosixPath(a).parent.parts, PurePosixPath(b).parent.parts
    return len(set(x) & set(y)) + 100 * (split_in(x) == split_in(y))


def _is_beside(name: str, stems: set[str]) -> bool:
    """Whether it is called as another picture, with a word for masks behind."""
    found = _BESIDE.fullmatch(_stem(name))
    return found is not None and found[1] in stems


def _bare(stem: str) -> str:
    """Without the word for masks behind."""
    found = _BESIDE.fullmatch(stem)
    return found[1] if found else re.sub(r"[_-]?(mask|gt|seg|label|labelids)$", "", stem)
