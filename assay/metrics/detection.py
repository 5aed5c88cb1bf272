"""How well boxes were found: COCO's average precision.

Lin et al.: Microsoft COCO: Common Objects in Context. ECCV 2014, as its evaluation code computes it: precision made
monotone and read at 101 recalls, at most 100 boxes a picture and class, boxes on crowds and difficult ones not counted.

Truth and prediction are sequences with one entry a picture: `Things` and `Found`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.metrics._metric import Metric

KINDS = frozenset({"detection"})
RECALLS = np.linspace(0.0, 1.0, 101)
THRESHOLDS = np.linspace(0.5, 0.95, 10)
MOST = 100  # boxes of a picture and class


@dataclass(frozen=True, eq=False)
class Things:
    """What is in a picture.  boxes: float (n, 4), x0, y0, x1, y1; labels: int64 (n,) class codes; ignored: bool (n,),
    crowds and things that are too hard to count: finding them is neither right nor wrong."""

    boxes: np.ndarray
    labels: np.ndarray
    ignored: np.ndarray


@dataclass(frozen=True, eq=False)
class Found:
    """What was found in a picture.  boxes: float (n, 4); labels: int64 (n,); scores: float (n,)."""

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (n, 4) and (m, 4): (n, m)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inner = np.clip(high - low, 0, None).prod(2)
    return np.asarray(inner / np.maximum(_area(a)[:, None] + _area(b)[None] - inner, 1e-12))


def average_precisions(
    truth: Sequence[Things], found: Sequence[Found], thresholds: np.ndarray = THRESHOLDS
) -> np.ndarray:
    """By threshold of the overlap and class: (t, classes); NaN for a class without a counted thing."""
    classes = 1 + max((int(t.labels.max()) for t in truth if len(t.labels)), default=-1)
    out = np.full((len(thresholds), classes), np.nan)
    for c in range(classes):
        out[:, c] = _class_precision(truth, found, c, thresholds)
    return out


def _class_precision(truth: Sequence[Things], found: Sequence[Found], c: int, thresholds: np.ndarray) -> np.ndarray:
    scores, right, passed = [], [], []
    counted = 0
    for t, f in zip(truth, found, strict=True):
        mine = t.labels == c
        ignored = t.ignored[mine]
        order = np.argsort(ignored, kind="stable")  # counted things first
        boxes, ignored = t.boxes[mine][order], ignored[order]
        counted += int((~ignored).sum())
        own = np.flatnonzero(f.labels == c)
        own = own[np.argsort(-f.scores[own], kind="stable")][:MOST]
        if not len(own):
            continue
        matched, skipped = _matches(_crowd_overlaps(f.boxes[own], boxes, ignored), ignored, thresholds)
        scores.append(f.scores[own])
        right.append(matched)
        passed.append(skipped)
    if not counted:
        return np.full(len(thresholds), np.nan)
    if not scores:
        return np.zeros(len(thresholds))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    right_all, passed_all = np.concatenate(right, 1)[:, order], np.concatenate(passed, 1)[:, order]
    return np.array([_interpolated(r[~p], counted) for r, p in zip(right_all, passed_all, strict=True)])


def _crowd_overlaps(found: np.ndarray, things: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """Overlaps; on things that do not count the share of the found box that lies inside."""
    if not len(things):
        return np.zeros((len(found), 0))
    iou = overlaps(found, things)
    low = np.maximum(found[:, None, :2], things[None, :, :2])
    high = np.minimum(found[:, None, 2:], things[None, :, 2:])
    inside = np.clip(high - low, 0, None).prod(2) / np.maximum(_area(found)[:, None], 1e-12)
    return np.where(ignored[None], inside, iou)


def _matches(iou: np.ndarray, ignored: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every threshold and found box, the surest first: whether it is right, and whether it does not count."""
    n, m = iou.shape
    right, passed = np.zeros((len(thresholds), n), bool), np.zeros((len(thresholds), n), bool)
    for k, threshold in enumerate(thresholds):
        taken = np.zeros(m, bool)
        for i in range(n):
            best, at = min(threshold, 1 - 1e-10), -1
            for j in range(m):
                if taken[j] and not ignored[j]:
                    continue
                if at >= 0 and not ignored[at] and ignored[j]:
                    break  # a counted thing matched: those that do not count come after
                if iou[i, j] >= best:
                    best, at = iou[i, j], j
            if at >= 0:
                taken[at] = True
                right[k, i] = not ignored[at]
                passed[k, i] = ignored[at]
    return right, passed


def _interpolated(right: np.ndarray, counted: int) -> float:
    true = np.cumsum(right)
    recall = true / counted
    precision = true / np.maximum(np.arange(1, len(right) + 1), 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, RECALLS, side="left")
    return float(np.where(at < len(precision), np.append(precision, 0.0)[np.minimum(at, len(precision))], 0.0).mean())


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(1))


def _mean(truth: Sequence[Things], found: Sequence[Found], thresholds: np.ndarray) -> float:
    values = average_precisions(truth, found, thresholds)
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _map50(truth: Sequence[Things], found: Sequence[Found], weight: np.ndarray | None) -> float:
    return _mean(truth, found, THRESHOLDS[:1])


def _map(truth: Sequence[Things], found: Sequence[Found], weight: np.ndarray | None) -> float:
    return _mean(truth, found, THRESHOLDS)


metrics = [
    Metric("map50", KINDS, True, _map50, "mean over classes of the average precision at an overlap of one half"),
    Metric("map", KINDS, True, _map, "COCO's mean average precision: over classes and overlaps from 0.5 to 0.95"),
]
