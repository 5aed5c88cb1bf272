"""An archive or a folder of pictures as a table: one row a picture.

Columns: `image` (the file), `path` (its name in the archive), and what the layout tells: `label` (folders), `boxes`
(JSON text: [{"label", "box": [x, y, width, height], "polygons": [[x1, y1, ...]], "crowd"|"difficult": true}] in pixels of
the stored picture; "[]" where there is nothing in it, missing where nothing is said), `mask` (a PNG of class numbers,
255 for none) with `mask_classes` (JSON list of their names, the same in every row), `split` (train, val or test); and the
columns of a csv that names the pictures.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assay.data.images.beside import LABEL, SPLIT, Beside, read_beside, splits_of
from assay.data.images.labels import Said, Thing, said_of
from assay.data.images.layout import Layout, is_picture, layout_of
from assay.data.images.masks import code_of, encode, names_json
from assay.data.images.members import Members, is_tar, opened
from assay.data.images.notes import Notes
from assay.data.images.pictures import Picture, keep, side_for
from assay.data.loaded import MB, Dialect, Loaded, ReadLimits
from assay.data.table import Blobs, Column, ColumnType, Table, Words
from assay.errors import DataError

MAX_KEPT = 2048 * MB  # bytes of all stored pictures together
_ORDER = {"test": 0, "val": 1, "train": 2, None: 3}


def holds_pictures(path: Path) -> bool:
    """Whether a zip, tar or folder is to be read as pictures: it holds at least one file with a picture's name."""
    import zipfile

    if path.is_dir() or is_tar(path):
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return any(is_picture(n) and not n.startswith("__MACOSX") for n in archive.namelist())
    except (zipfile.BadZipFile, OSError, NotImplementedError):
        return False


def read_images(path: Path, *, file: str, limits: ReadLimits = ReadLimits()) -> Loaded:
    """Raises DataError with the member's name for what is refused; what is mended or left out is in the warnings."""
    notes = Notes()
    with tempfile.TemporaryDirectory(prefix="assay-images-") as made, opened(path, Path(made), limits, file) as members:
        layout = layout_of(members)
        for name in layout.ignored:
            notes.add("ignored_file", name)
        for name in layout.unmatched:
            notes.add("unmatched_mask", name)
        beside = read_beside(layout, members, limits, notes) if layout.tables else None
        table = _table(layout, members, notes, file, beside)
    kind = "detection" if layout.format in ("coco", "voc") else "images"
    formats = {} if beside is None else {n: f for n, f in beside.formats.items() if n in table.names}
    return Loaded(table, formats, notes.warnings(), Dialect(layout.format), kind)


def with_types(loaded: Loaded, overrides: Mapping[str, ColumnType] | None, file: str) -> Loaded:
    """The same; raises DataError for a type that was asked for and is not the one the layout gives."""
    for column, kind in (overrides or {}).items():
        given = loaded.table.types.get(column)
        if kind != given:
            found = f"is of type {given}" if given else f"is not there; columns: {', '.join(loaded.table.names)}"
            message = f"{file}: {column!r} {found}; the columns of pictures follow from the layout of the archive"
            raise DataError(message, file=file, column=column, code="schema_mismatch")
    return loaded


def _table(layout: Layout, members: Members, notes: Notes, file: str, beside: Beside | None) -> Table:
    said = said_of(layout, members, notes)
    side = side_for(len(layout.pictures))
    code, masks = code_of(layout, members, notes) if layout.masks else (None, {})
    files: list[bytes] = []
    mask_files: list[bytes | None] = []
    boxes: list[str | None] = []
    names: list[str] = []
    pictures: list[Picture] = []
    kept = 0
    for name in layout.pictures:
        picture = keep(members.read(name), name, side, notes, said[name].size, file)
        if picture is None:
            continue
        kept += len(picture.data)
        if kept > MAX_KEPT:
            message = (
                f"{file}: the pictures up to {name!r} take more than {MAX_KEPT >> 20} MiB; send fewer or smaller ones"
            )
            raise DataError(message, file=file, code="dataset_too_large")
        names.append(name)
        files.append(picture.data)
        pictures.append(Picture(b"", picture.width, picture.height, picture.original, picture.grey))
        boxes.append(_boxes(said[name], picture, name, notes))
        mask = masks.get(name)
        mask_files.append(
            None if mask is None or code is None
            else encode(code, members, mask, (picture.width, picture.height), picture.original, notes)
        )  # fmt: skip
    if not files:
        first = layout.pictures[0]
        raise DataError(f"{file}: none of its {len(layout.pictures)} pictures can be read, {first!r} first", file=file)
    greys = [n for n, p in zip(names, pictures, strict=True) if p.grey]
    for name in greys if len(greys) < len(names) else ():
        notes.add("grey_image", name)
    _duplicates(names, files, said, notes)
    columns: dict[str, tuple[Column, ColumnType]] = {
        "image": (Blobs.of(files), ColumnType.IMAGE),
        "path": (Words.of(names), ColumnType.ID),
    }
    told = {} if beside is None else beside.columns(names)
    labels = [said[n].label for n in names]
    if any(labels) and LABEL not in told:
        columns[LABEL] = Words.of(labels), ColumnType.CATEGORY
    if any(b is not None for b in boxes):
        columns["boxes"] = Words.of(boxes), ColumnType.TEXT
    if code is not None:
        columns["mask"] = Blobs.of(mask_files), ColumnType.IMAGE
        columns["mask_classes"] = Words.of([names_json(code.names)] * len(names)), ColumnType.CONSTANT
    splits = splits_of(told[SPLIT][0]) if SPLIT in told else []
    splits = splits if any(splits) else [said[n].split for n in names]
    if len({s for s in splits if s}) > 1:
        columns[SPLIT] = Words.of(splits), ColumnType.CATEGORY
    columns |= {n: c for n, c in told.items() if n != SPLIT}
    return Table({n: c for n, (c, _) in columns.items()}, {n: t for n, (_, t) in columns.items()})


def _boxes(said: Said, picture: Picture, name: str, notes: Notes) -> str | None:
    """The things of a picture in its stored pixels, as JSON; None where nothing was said."""
    if said.things is None:
        return None
    width, height = said.size or picture.original
    if (width, height) != picture.original and said.things:
        notes.add(
            "size_mismatch", name, f"{width} x {height}, the file has {picture.original[0]} x {picture.original[1]}"
        )
    found = []
    for thing in said.things:
        if thing.box[2] <= 0 or thing.box[3] <= 0:
            notes.add("empty_box", name, thing.label)
            continue
        x0, y0 = thing.box[0], thing.box[1]
        x1, y1 = x0 + thing.box[2], y0 + thing.box[3]
        if x0 < -1 or y0 < -1 or x1 > width + 1 or y1 > height + 1:
            notes.add("box_outside", name, thing.label)
        x0, y0, x1, y1 = max(0.0, x0), max(0.0, y0), min(float(width), x1), min(float(height), y1)
        if x1 <= x0 or y1 <= y0:
            continue
        found.append(_thing_json(thing, (x0, y0, x1 - x0, y1 - y0), picture.width / width, picture.height / height))
    if not said.things:
        notes.add("no_objects", name)
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


def _thing_json(thing: Thing, box: Sequence[float], sx: float, sy: float) -> dict[str, Any]:
    scaled = [box[0] * sx, box[1] * sy, box[2] * sx, box[3] * sy]
    told: dict[str, Any] = {"label": thing.label, "box": [round(v, 2) for v in scaled]}
    if thing.polygons:
        told["polygons"] = [[round(v * (sy if i % 2 else sx), 2) for i, v in enumerate(p)] for p in thing.polygons]
    return told | dict.fromkeys(thing.flags, True)


def _duplicates(names: Sequence[str], files: Sequence[bytes], said: dict[str, Said], notes: Notes) -> None:
    """Tell of equal files: in one split, in several, and under several labels."""
    groups: dict[bytes, list[str]] = {}
    for name, data in zip(names, files, strict=True):
        groups.setdefault(hashlib.sha256(data).digest(), []).append(name)
    for same in groups.values():
        if len(same) < 2:
            continue
        first, *others = sorted(same, key=lambda n: _ORDER[said[n].split])
        for other in others:
            crossing = said[other].split != said[first].split
            notes.add("duplicate_across_splits" if crossing else "duplicate_image", other, f"as {first!r}")
            if said[other].label != said[first].label:
                notes.add(
                    "conflicting_labels", other, f"{said[other].label!r}, and {said[first].label!r} for {first!r}"
                )
