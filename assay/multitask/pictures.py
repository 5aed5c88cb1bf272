"""Several targets of a picture: classes and numbers of the whole, and a class for every pixel; and how they are judged.

The truth of a picture is a `Row`; a prediction is the answers for the whole, side by side, then the probabilities of
every pixel (classes, side, side), flattened to one row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.families import Target
from assay.metrics import all_values
from assay.metrics.multitask import WORST
from assay.metrics.segmentation import IGNORED
from assay.multitask.report import values as label_values
from assay.multitask.targets import KIND, OneTarget, Truth

SEGMENTATION = "segmentation"
CHUNK = 16  # pictures answered at once


@dataclass(frozen=True)
class MaskTarget:
    """A class for every pixel.  classes: names by number."""

    name: str
    classes: tuple[str, ...]
    kind = SEGMENTATION

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "kind": self.kind, "classes": list(self.classes)}


@dataclass(frozen=True)
class PictureTarget(Target):
    """heads: in the order of the job's targets, at most one mask among them.  side: of the square that masks fill."""

    heads: tuple[OneTarget | MaskTarget, ...] = ()
    side: int = 0

    @staticmethod
    def of(heads: Sequence[OneTarget | MaskTarget], side: int, metric: str) -> PictureTarget:
        return PictureTarget(KIND, 0, metric, 1, tuple(heads), side)

    @property
    def labels(self) -> tuple[OneTarget, ...]:
        return tuple(h for h in self.heads if isinstance(h, OneTarget))

    @property
    def mask(self) -> MaskTarget | None:
        return next((h for h in self.heads if isinstance(h, MaskTarget)), None)

    @property
    def width(self) -> int:
        """Columns of the answers for the whole picture."""
        return sum(t.width for t in self.labels)

    @property
    def is_regression(self) -> bool:
        return False

    @property
    def n_outputs(self) -> int:
        return self.width + (0 if self.mask is None else len(self.mask.classes) * self.side**2)


@dataclass(frozen=True, eq=False)
class Row:
    """labels: float64 (labels,), NaN where missing.  mask: uint8 (side, side), 255 for none; None where missing."""

    labels: np.ndarray
    mask: np.ndarray | None


def labels_of(rows: Sequence[Row], target: PictureTarget) -> Truth:
    return Truth.of(np.array([r.labels for r in rows]).reshape(len(rows), -1), target.labels)


def masks_of(rows: Sequence[Row], target: PictureTarget) -> np.ndarray:
    """uint8 (n, side, side), all 255 where there is none."""
    out = np.full((len(rows), target.side, target.side), IGNORED, np.uint8)
    for i, row in enumerate(rows):
        if row.mask is not None:
            out[i] = row.mask
    return out


def parts(answers: np.ndarray, target: PictureTarget) -> tuple[np.ndarray, np.ndarray | None]:
    """Answers for the whole (n, width), and the most probable class of every pixel uint8 (n, side, side)."""
    told = answers[:, : target.width]
    if target.mask is None:
        return told, None
    square = answers[:, target.width :].reshape(-1, len(target.mask.classes), target.side, target.side)
    return told, square.argmax(1).astype(np.uint8)


def answered(predict: Any, x: Any, target: PictureTarget) -> tuple[np.ndarray, np.ndarray | None]:
    """`parts` of all rows of x, a few at a time.  predict: rows -> answers (n, k)."""
    told, masks = [], []
    for chunk in _chunks(len(x)):
        whole, square = parts(np.asarray(predict(x[chunk])), target)
        told.append(whole)
        masks.append(square)
    if not told:
        return np.zeros((0, target.width)), None
    return np.concatenate(told), None if masks[0] is None else np.concatenate([m for m in masks if m is not None])


def skill(truth: np.ndarray, found: np.ndarray) -> float:
    """Of masks: 1 - (1 - mean IoU) / (1 - that of the best constant), no less than WORST; NaN without a known pixel."""
    counts = np.bincount(truth.ravel(), minlength=256)[:IGNORED].astype(np.float64)
    there = counts[counts > 0]
    if not len(there):
        return float("nan")
    value = all_values(SEGMENTATION, list(truth), list(found))["mean_iou"]  # type: ignore[arg-type]
    base = float(there.max() / there.sum() / len(there))
    return max(WORST, 1.0 - (1.0 - value) / (1.0 - base)) if base < 1.0 else float("nan")


def values(rows: Sequence[Row], told: np.ndarray, masks: np.ndarray | None, target: PictureTarget) -> dict[str, float]:
    """Metrics of the whole by name, then those of every target by `<target>:<metric>`, its skill among them."""
    if not len(rows):
        return {}
    found = label_values(labels_of(rows, target), told, None) if target.labels else {}
    if target.mask is not None and masks is not None:
        truth = masks_of(rows, target)
        known = np.array([r.mask is not None for r in rows])
        own = all_values(SEGMENTATION, list(truth[known]), list(masks[known]))  # type: ignore[arg-type]
        found |= {f"{target.mask.name}:{name}": value for name, value in own.items() if np.isfinite(value)}
        value = skill(truth[known], masks[known])
        if np.isfinite(value):
            found[f"{target.mask.name}:skill"] = value
    skills = [found[key] for h in target.heads if (key := f"{h.name}:skill") in found]
    if skills:
        found["multitask_score"], found["multitask_worst"] = float(np.mean(skills)), float(np.min(skills))
    return found


def _chunks(n: int) -> Iterator[slice]:
    return (slice(i, i + CHUNK) for i in range(0, n, CHUNK))


def heads_of(told: Sequence[Mapping[str, Any]]) -> tuple[OneTarget | MaskTarget, ...]:
    """From `to_json` of each."""
    return tuple(
        MaskTarget(str(t["name"]), tuple(t["classes"])) if t["kind"] == SEGMENTATION else OneTarget.from_json(t)
        for t in told
    )
