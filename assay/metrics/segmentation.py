"""How well pixels were told apart.

Truth and prediction are sequences of class numbers, one array (h, w) a picture; 255 in the truth is nobody's and counts
nowhere.  The pixels of all pictures are counted together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from assay.metrics._metric import Metric

KINDS = frozenset({"segmentation"})
IGNORED = 255


def confusion(truth: Sequence[np.ndarray], found: Sequence[np.ndarray], classes: int | None = None) -> np.ndarray:
    """Pixels by true class (rows) and found class (columns), int64 (k, k)."""
    if classes is None:
        tops = [int(t[t != IGNORED].max(initial=0)) for t in truth] + [int(f.max(initial=0)) for f in found]
        classes = 1 + max(tops, default=0)
    counts = np.zeros(classes * classes, np.int64)
    for t, f in zip(truth, found, strict=True):
        counted = t != IGNORED
        places = t[counted].astype(np.int64) * classes + f[counted].astype(np.int64)
        counts += np.bincount(places, minlength=classes * classes)
    return counts.reshape(classes, classes)


def _parts(truth: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Right pixels, true pixels and found pixels of the classes that occur in either."""
    counts = confusion(truth, found)
    right, true, said = counts.diagonal(), counts.sum(1), counts.sum(0)
    there = true + said > 0
    return right[there], true[there], said[there]


def _mean_iou(truth: Sequence[np.ndarray], found: Sequence[np.ndarray], weight: np.ndarray | None) -> float:
    right, true, said = _parts(truth, found)
    return float(np.mean(right / (true + said - right))) if len(right) else float("nan")


def _dice(truth: Sequence[np.ndarray], found: Sequence[np.ndarray], weight: np.ndarray | None) -> float:
    right, true, said = _parts(truth, found)
    return float(np.mean(2 * right / (true + said))) if len(right) else float("nan")


def _pixel_accuracy(truth: Sequence[np.ndarray], found: Sequence[np.ndarray], weight: np.ndarray | None) -> float:
    right, true, _ = _parts(truth, found)
    return float(right.sum() / true.sum()) if true.sum() else float("nan")


metrics = [
    Metric("mean_iou", KINDS, True, _mean_iou, "mean over classes of intersection over union of their pixels"),
    Metric("pixel_accuracy", KINDS, True, _pixel_accuracy, "share of pixels with the right class"),
    Metric("dice", KINDS, True, _dice, "mean over classes of the Dice coefficient (F1 of their pixels)"),
]
