"""What annotations say of every picture, layout by layout, before any picture is opened."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from xml.etree import ElementTree

from assay.data.images.layout import PICTURE_FOLDERS, Layout, split_in, split_named
from assay.data.images.members import Members
from assay.data.images.notes import Notes
from assay.data.images.outlines import box_of, decode_runs, outlines
from assay.errors import DataError

WHOLE = ("label", "class", "category", "category_name")  # fields of a COCO image that tell the class of the whole


@dataclass(frozen=True)
class Thing:
    """One object in a picture.  box: x, y, width, height; polygons: [x1, y1, x2, y2, ...] each; both in the pixels that
    the annotation was made for.  flags: "crowd" or "difficult"."""

    label: str
    box: tuple[float, float, float, float]
    polygons: tuple[tuple[float, ...], ...] = ()
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Said:
    """Of one picture.  things None: nothing was said, not even that it is empty."""

    label: str | None = None
    split: str | None = None
    things: tuple[Thing, ...] | None = None
    size: tuple[int, int] | None = None  # (width, height) that the boxes were made for


def said_of(layout: Layout, members: Members, notes: Notes) -> dict[str, Said]:
    """By name of the picture; every picture of the layout is in it."""
    if layout.format == "coco":
        return _coco(layout, members, notes)
    if layout.format == "voc":
        return _voc(layout, members, notes)
    if layout.format == "masks":
        sets, folders = _sets(layout, members), _classes(layout.pictures)
        return {n: Said(folders.get(n), sets.get(PurePosixPath(n).stem) or split_in(PurePosixPath(n).parts[:-1]))
                for n in layout.pictures}  # fmt: skip
    return _folders(layout.pictures, notes)


def _classes(pictures: Sequence[str]) -> dict[str, str]:
    """The classes that folders of pictures with masks name: those below or above `images`, if there are several."""
    bare = {
        n: "/".join(p for p in PurePosixPath(n).parts if p.lower() not in PICTURE_FOLDERS and not split_named(p))
        for n in pictures
    }
    folders = {n: PurePosixPath(b).parts[:-1] for n, b in bare.items()}
    shared = _shared([f for f in folders.values() if f])
    found = {n: f[shared] for n, f in folders.items() if len(f) > shared}
    several = len(set(found.values())) > 1 and 2 * len(found) > len(pictures)
    return found if several else {}


# -- a folder for every class -----------------------------------------------------------------------------------------


def _folders(pictures: Sequence[str], notes: Notes) -> dict[str, Said]:
    folders = {n: PurePosixPath(n).parts[:-1] for n in pictures}
    shared = _shared([f for f in folders.values() if f])
    told = {n: f[shared:] if f else () for n, f in folders.items()}
    deep = [f for f in told.values() if f]
    first_is_split = bool(deep) and all(split_named(f[0]) for f in deep)
    second_is_split = bool(deep) and not first_is_split and all(len(f) > 1 and split_named(f[1]) for f in deep)
    found: dict[str, Said] = {}
    for name, f in told.items():
        split = split_named(f[0]) if first_is_split and f else split_named(f[1]) if second_is_split and f else None
        rest = f[1:] if first_is_split else f
        label = rest[0] if rest else None
        if label is None and deep:
            notes.add("no_label", name)
        found[name] = Said(label=label, split=split)
    if not any(s.label for s in found.values()):
        notes.drop("no_label")
    return found


def _shared(folders: Sequence[tuple[str, ...]]) -> int:
    """How many folders lead every name and tell nothing; a single folder of a class or a split is kept."""
    shared = 0
    while folders and all(len(f) > shared for f in folders) and len({f[shared] for f in folders}) == 1:
        if split_named(folders[0][shared]):
            break
        shared += 1
    return shared


# -- COCO -------------------------------------------------------------------------------------------------------------


def _coco(layout: Layout, members: Members, notes: Notes) -> dict[str, Said]:
    by_base: dict[str, list[str]] = {}
    for name in layout.pictures:
        by_base.setdefault(PurePosixPath(name).name, []).append(name)
    found: dict[str, Said] = {}
    for document, content in layout.documents.items():
        found |= _coco_document(document, content, by_base, members.file, notes, found)
    for name in layout.pictures:
        if name not in found:
            notes.add("unannotated_image", name)
            found[name] = Said(split=split_in(PurePosixPath(name).parts[:-1]))
    return found


def _coco_document(
    document: str, content: Mapping[str, Any], by_base: Mapping[str, list[str]], file: str, notes: Notes,
    before: Mapping[str, Said],
) -> dict[str, Said]:  # fmt: skip
    folder = PurePosixPath(document).parent
    words = PurePosixPath(document).stem.replace("-", "_").replace(".", "_").split("_")
    split = split_in([*folder.parts, *words])
    categories: dict[Any, str] = {}
    for c in content.get("categories") or []:
        if isinstance(c, dict) and "id" in c and c.get("name") not in (None, ""):
            categories[_key(c["id"])] = str(c["name"])
    if not categories and content["annotations"]:
        raise DataError(f"{file}: {document!r} declares no categories", file=file)
    names: dict[Any, str] = {}
    sizes: dict[str, tuple[int, int] | None] = {}
    whole: dict[str, str] = {}  # classes of pictures as a whole
    for entry in content["images"]:
        if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str) or "id" not in entry:
            notes.add("bad_annotation", document, "an image without id or file_name")
            continue
        name = _picture(entry["file_name"], folder, by_base, split)
        if name is None:
            notes.add("missing_image", document, entry["file_name"][:80])
            continue
        names[_key(entry["id"])] = name
        sizes[name] = _size(entry)
        label = next((entry[k] for k in WHOLE if entry.get(k) not in (None, "")), None)
        label = categories.get(_key(entry.get("category_id"))) if label is None else label
        if isinstance(label, (str, int, float)):
            whole[name] = str(label)
    things: dict[str, list[Thing]] = {n: list(before[n].things or ()) if n in before else [] for n in sizes}
    for annotation in content["annotations"]:
        if not isinstance(annotation, dict):
            notes.add("bad_annotation", document, "not an object")
            continue
        name = names.get(_key(annotation.get("image_id")))
        if name is None:
            notes.add("missing_image", document, f"image_id {str(annotation.get('image_id'))[:40]}")
            continue
        label = categories.get(_key(annotation.get("category_id")))
        if label is None:
            notes.add("unknown_category", name, f"category_id {str(annotation.get('category_id'))[:40]}")
            continue
        if not annotation.get("bbox") and not annotation.get("segmentation"):
            whole.setdefault(name, label)
            continue
        thing = _coco_thing(annotation, label)
        if thing is None:
            notes.add("bad_annotation", name, f"annotation {str(annotation.get('id'))[:40]}")
        else:
            things[name].append(thing)
    return {
        n: Said(whole.get(n), split or split_in(PurePosixPath(n).parts[:-1]), tuple(t), sizes[n])
        for n, t in things.items()
    }


def _coco_thing(annotation: Mapping[str, Any], label: str) -> Thing | None:
    box = _numbers(annotation.get("bbox"), 4)
    segmentation = annotation.get("segmentation")
    polygons: list[tuple[float, ...]] = []
    try:
        if isinstance(segmentation, dict):
            mask = decode_runs(segmentation)
            polygons = [tuple(p) for p in outlines(mask)]
            box = box or box_of(mask)
        elif isinstance(segmentation, list):
            for p in segmentation:
                if isinstance(p, list) and len(p) >= 6 and len(p) % 2 == 0:
                    polygons.append(_numbers(p, len(p)) or ())
            polygons = [p for p in polygons if p]
    except (KeyError, TypeError, ValueError):
        return None
    if box is None and polygons:
        xs, ys = [v for p in polygons for v in p[::2]], [v for p in polygons for v in p[1::2]]
        box = (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))
    if box is None:
        return None
    flags = ("crowd",) if annotation.get("iscrowd") in (1, True) else ()
    return Thing(label, (box[0], box[1], box[2], box[3]), tuple(polygons), flags)


def _picture(
    file_name: str, folder: PurePosixPath, by_base: Mapping[str, list[str]], split: str | None = None
) -> str | None:
    """The member that a file name means: below the document's folder, or with the most of its path in common.

    split: the part that the document is of; it tells `train2017/1.jpg` from `val2017/1.jpg` where their paths do not.
    """
    wanted = PurePosixPath(file_name.replace("\\", "/"))
    candidates = by_base.get(wanted.name, [])
    ends = [c for c in candidates if PurePosixPath(c).parts[-len(wanted.parts) :] == wanted.parts] or candidates
    base = folder.parts

    def near(c: str) -> tuple[int, bool, int]:
        parts = PurePosixPath(c).parts
        same = next(
            (i for i, (a, b) in enumerate(zip(parts, base, strict=False)) if a != b), min(len(parts), len(base))
        )
        return same, split is not None and split_in(parts[:-1]) == split, -len(parts)

    return max(ends, key=near, default=None)


def _key(value: Any) -> Any:
    return value if isinstance(value, (int, str)) else str(value)


def _size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    found = _numbers([entry.get("width"), entry.get("height")], 2)
    return (int(found[0]), int(found[1])) if found and min(found) >= 1 else None


def _numbers(values: Any, n: int) -> tuple[float, ...] | None:
    if not isinstance(values, (list, tuple)) or len(values) != n:
        return None
    try:
        found = tuple(float(v) for v in values)
    except (TypeError, ValueError):
        return None
    return found if all(math.isfinite(v) and abs(v) < 1e7 for v in found) else None


# -- Pascal VOC -------------------------------------------------------------------------------------------------------


def _voc(layout: Layout, members: Members, notes: Notes) -> dict[str, Said]:
    by_base: dict[str, list[str]] = {}
    by_stem: dict[str, list[str]] = {}
    for name in layout.pictures:
        by_base.setdefault(PurePosixPath(name).name, []).append(name)
        by_stem.setdefault(PurePosixPath(name).stem, []).append(name)
    sets = _sets(layout, members)
    found: dict[str, Said] = {}
    broken: list[DataError] = []
    for note in layout.notes:
        folder = PurePosixPath(note).parent.parent
        try:
            root = _xml(members.read(note), note, members.file)
        except BrokenNote as error:
            broken.append(error)
            notes.add("bad_annotation", note, error.why)
            picture = _picture(PurePosixPath(note).stem, folder, by_stem)
            if picture is not None:  # nothing is known of it, which is not the same as a picture with nothing in it
                found[picture] = Said(split=_split_of(picture, sets))
            continue
        wanted = (root.findtext("filename") or "").strip().replace("\\", "/")
        # the name beside the note counts: `filename` is often that of another machine
        picture = _picture(PurePosixPath(note).stem, folder, by_stem) or _picture(wanted, folder, by_base)
        if picture is None:
            notes.add("missing_image", note, wanted[:80])
            continue
        things: list[Thing] = []
        for thing in root.iter("object"):
            made = _voc_thing(thing)
            if made is None:
                notes.add("bad_annotation", note)
            else:
                things.append(made)
        size = _size({k: root.findtext(f"size/{k}") for k in ("width", "height")})
        found[picture] = Said(None, _split_of(picture, sets), tuple(things), size)
    if broken and len(broken) == len(layout.notes):
        raise broken[0]
    for name in layout.pictures:
        if name not in found:
            if name not in layout.masks:
                notes.add("unannotated_image", name)
            found[name] = Said(split=_split_of(name, sets))
    return found


def _split_of(picture: str, sets: Mapping[str, str]) -> str | None:
    return sets.get(PurePosixPath(picture).stem) or split_in(PurePosixPath(picture).parts[:-1])


class BrokenNote(DataError):
    """An annotation file that cannot be parsed: its picture is left out, unless all are so."""

    def __init__(self, why: str, name: str, file: str) -> None:
        super().__init__(f"{file}: {name!r} is no valid XML ({why})", file=file)
        self.why = why


def _voc_thing(thing: ElementTree.Element) -> Thing | None:
    label = (thing.findtext("name") or "").strip()
    corners = _numbers([thing.findtext(f"bndbox/{k}") for k in ("xmin", "ymin", "xmax", "ymax")], 4)
    if not label or corners is None:
        return None
    x0, y0, x1, y1 = corners
    flags = ("difficult",) if (thing.findtext("difficult") or "").strip() == "1" else ()
    return Thing(label, (x0, y0, x1 - x0, y1 - y0), (), flags)


def _xml(data: bytes, name: str, file: str) -> ElementTree.Element:
    """Annotations need no document type and no entities, and an archive from outside gets none.  Raises DataError."""
    plain = data.replace(b"\0", b"").upper()
    if b"<!DOCTYPE" in plain or b"<!ENTITY" in plain:
        raise DataError(f"{file}: {name!r} declares a document type or entities, which annotations do not", file=file)
    try:
        return ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise BrokenNote(str(error), name, file) from None


def _sets(layout: Layout, members: Members) -> dict[str, str]:
    """Split by picture, as ImageSets/Main (or Segmentation)/{train,val,test}.txt lists them."""
    found: dict[str, str] = {}
    for name in layout.split_files:
        split = split_named(PurePosixPath(name).stem)
        if split is None or PurePosixPath(name).parent.name.lower() not in ("main", "segmentation", "imagesets"):
            continue
        for line in members.read(name).decode("utf-8", "replace").splitlines():
            if line.split():
                found.setdefault(line.split()[0], split)
    return found
