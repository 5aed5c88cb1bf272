"""Segmentation: which class every pixel of a picture belongs to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.tasks import _pictures as pictures

if TYPE_CHECKING:
    from assay.data.table import Table
    from assay.model.manifest import Manifest
    from assay.spec import JobSpec, ProfileFacts, Resolved
    from assay.tasks import TaskType
    from assay.tasks._problem import Problem

KIND = "segmentation"


class Segmentation(pictures.Annotated):
    """Pictures with masks of class numbers (`mask`, names in `mask_classes`), or with outlines (`boxes`)."""

    name = "segmentation"
    about = "tell the pixels of pictures apart: a class for every one"
    kinds: tuple[str, ...] = (KIND,)
    formats: tuple[str, ...] = ("coco", "masks")  # that answers can be had in, besides JSON and csv

    def default_metric(self, kind: str) -> str:
        return "mean_iou"

    def resolve(self, spec: JobSpec, profile: ProfileFacts) -> Resolved:
        return pictures.resolve(spec, profile, KIND, self.default_metric(KIND), (pictures.MASK, pictures.BOXES))

    def prepare(self, table: Table, resolved: Resolved) -> Problem:
        if resolved.target == pictures.MASK:
            keep, masks, classes, notes = from_masks(table, int(resolved.options["side"]))
        else:
            resolved = _sized(table, resolved)
            keep, masks, classes, notes = from_outlines(table, resolved, int(resolved.options["side"]))
        return pictures.problem_of(table, resolved, keep, masks, classes, notes)

    def warnings(self, table: Table, resolved: Resolved) -> list[dict[str, Any]]:
        from assay.vision.warn import rare_labels

        return rare_labels(table) if resolved.target == pictures.BOXES else []

    def answers(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> list[dict[str, Any]]:
        from assay.vision.answers import mask_answers

        return mask_answers(outputs, manifest.classes, int(manifest.info["side"]))

    def csv(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> Iterator[list[str]]:
        yield ["prediction"]
        for answer in self.answers(outputs, manifest):
            yield [json.dumps({k: answer["value"][k] for k in ("size", "counts")}, ensure_ascii=False)]


def from_masks(table: Table, side: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], list[str]]:
    """Rows with a readable mask, their masks in the square, the classes, and what is to be told.  Raises DataError."""
    from assay.errors import DataError
    from assay.metrics.segmentation import IGNORED
    from assay.vision.truth import read_mask, square_mask

    files, images = table.blobs(pictures.MASK), table.blobs(pictures.IMAGE)
    names, numbers = _class_numbers(table)
    keep, masks, top = [], [], 0
    for i in range(len(table)):
        data = files[i]
        mask = None if data is None or images[i] is None else read_mask(data)
        if mask is not None:
            number = numbers[i]
            mask = mask if number is None else number[mask]
            keep.append(i)
            masks.append(square_mask(mask, side))
            top = max(top, int(mask[mask != IGNORED].max(initial=0)))
    if not keep:
        raise DataError("no mask can be read: a mask is a PNG of one channel with class numbers", column=pictures.MASK)
    classes = tuple(names[i] if i < len(names) else str(i) for i in range(max(top + 1, len(names))))
    if len(classes) < 2:
        raise DataError("the masks know one class only; there is nothing to tell apart", code="single_class_target")
    return np.array(keep), np.stack(masks), classes, []


def _class_numbers(table: Table) -> tuple[tuple[str, ...], list[np.ndarray | None]]:
    """The names of all classes, and for every row what its mask's numbers are among them: uint8 (256,), None where they are.

    Archives number their classes each in its own way; those of a validation or test dataset are known by their names.
    """
    names: list[str] = []
    numbers: list[np.ndarray | None] = [None] * len(table)
    if pictures.NAMES not in table.columns:
        return (), numbers
    cells = table.words(pictures.NAMES)
    found: list[np.ndarray | None] = []
    for text in cells.levels:
        own = list(map(str, json.loads(text or "[]")))
        names += [name for name in own if name not in names]
        place = np.arange(256)
        place[: len(own)] = [names.index(name) for name in own]
        found.append(None if (place == np.arange(256)).all() else place.astype(np.uint8))
    return tuple(names), [None if code < 0 else found[code] for code in cells.codes]


def _sized(table: Table, resolved: Resolved) -> Resolved:
    """With the side of the square that things of these sizes want."""
    from assay.vision.truth import picture_size, read_things

    files, shares = table.blobs(pictures.IMAGE), []
    for i, text in enumerate(table.words(pictures.BOXES).values()):
        data = files[i]
        if text and data is not None:
            longer = max(1, *picture_size(data))
            shares += [max(t["box"][2:]) / longer for t in read_things(text, i)]
    return pictures.sized(resolved, np.array(shares, np.float64))


def from_outlines(
    table: Table, resolved: Resolved, side: int
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], list[str]]:
    """The same from the outlines in `boxes`."""
    from assay.vision.truth import BACKGROUND, drawn_mask, picture_size, read_things

    cells, files = table.words(pictures.BOXES), table.blobs(pictures.IMAGE)
    keep = np.flatnonzero((cells.codes >= 0) & ~files.missing)
    texts = cells.values()
    read = [read_things(texts[i], int(i)) for i in keep]
    labels = pictures.sorted_classes({str(t["label"]) for r in read for t in r}, resolved)
    classes = (BACKGROUND, *(c for c in labels if c != BACKGROUND))
    masks = [drawn_mask(r, classes, picture_size(files[int(i)]), side) for r, i in zip(read, keep, strict=True)]
    bare = sum(not t.get("polygons") for r in read for t in r)
    notes = [f"{bare} annotations have no outline; their boxes are filled instead"] if bare else []
    return keep, np.stack(masks), classes, notes


task: TaskType = Segmentation()
