"""From a detector's answer at every place to a few boxes a picture: once in numpy, once as nodes.

A detector answers (P, 4 + classes) for P places: a box in shares of the side, and a score of each class.  Of every class
the surest boxes are kept that do not overlap a surer one (non-maximum suppression), then the surest of all classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.metrics.detection import Found, overlaps
from assay.model.graph import Scope

LEAST_SCORE = 0.01
OVERLAP = 0.5  # beyond it the less sure of two boxes is dropped
MOST = 100  # boxes a picture


@dataclass(frozen=True)
class Decoder:
    """classes: how many.  side: of the square in pixels."""

    classes: int
    side: int

    def found(self, dense: np.ndarray) -> list[Found]:
        """dense: (n, P * (4 + classes)).  Boxes in shares of the side."""
        return [self._one(d.reshape(-1, 4 + self.classes).astype(np.float32)) for d in dense]

    def _one(self, dense: np.ndarray) -> Found:
        boxes, labels, scores = [], [], []
        for c in range(self.classes):
            own = np.flatnonzero(dense[:, 4 + c] > LEAST_SCORE)
            own = own[np.argsort(-dense[own, 4 + c], kind="stable")]
            kept = own[_suppressed(dense[own, :4])]
            boxes.append(dense[kept, :4])
            scores.append(dense[kept, 4 + c])
            labels.append(np.full(len(kept), c))
        score = np.concatenate(scores)
        order = np.argsort(-score, kind="stable")[:MOST]
        return Found(np.concatenate(boxes)[order], np.concatenate(labels)[order], score[order])

    def emit(self, scope: Scope, dense: str) -> tuple[str, str, str]:
        """boxes float32 [N, M, 4] in pixels of the square (x0, y0, x1, y1), scores float32 [N, M], labels int64 [N, M];
        what is not needed has score 0."""
        width = 4 + self.classes

        def integers(*values: int) -> str:
            return scope.const(np.array(values, np.int64))

        table = scope.add("Reshape", dense, integers(0, -1, width))
        boxes = scope.add("Slice", table, integers(0), integers(4), integers(2))
        scores = scope.add(
            "Transpose", scope.add("Slice", table, integers(4), integers(width), integers(2)), perm=[0, 2, 1]
        )  # (N, classes, P)
        chosen = scope.add(
            "NonMaxSuppression", boxes, scores, integers(MOST), scope.const(np.array([OVERLAP], np.float32)),
            scope.const(np.array([LEAST_SCORE], np.float32)), center_point_box=0,
        )  # fmt: skip
        shape = scope.add("Shape", scores)
        nothing = scope.add("Expand", scope.const(np.float32(0)), shape)
        kept = scope.add("ScatterND", nothing, chosen, scope.add("GatherND", scores, chosen))
        flat = scope.add("Reshape", kept, integers(0, -1))  # (N, classes * P), class by class
        sizes = scope.add("Shape", flat, start=1, end=2)
        most = scope.add("Min", sizes, integers(MOST))
        best, at = scope.add_many("TopK", flat, most, axis=1, largest=1, sorted=1, outputs=2)
        places = scope.add("Shape", boxes, start=1, end=2)
        labels = scope.add("Div", at, places)
        where = scope.add("Unsqueeze", scope.add("Sub", at, scope.add("Mul", labels, places)), integers(2))
        picked = scope.add("GatherElements", boxes, scope.add("Tile", where, integers(1, 1, 4)), axis=1)
        return scope.add("Mul", picked, scope.const(np.float32(self.side))), best, labels


def _suppressed(boxes: np.ndarray) -> np.ndarray:
    """Positions that stay, of boxes sorted by score."""
    kept: list[int] = []
    left = np.arange(len(boxes))
    while len(left) and len(kept) < MOST:
        kept.append(int(left[0]))
        left = left[1:][overlaps(boxes[left[:1]], boxes[left[1:]])[0] <= OVERLAP]
    return np.array(kept, np.int64)


def unlike(expected: Sequence[Found], boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, side: int) -> int:
    """How many clearly seen boxes (score above 0.05) the graph does not answer alike.

    boxes, scores, labels: the graph's.  Alike: the same label, a score within 0.002 and nearly the same box; which of two
    equally sure boxes stays may differ, so a surer one in the place of one is taken.
    """
    missed = 0
    for i, f in enumerate(expected):
        for box, label, score in zip(f.boxes, f.labels, f.scores, strict=True):
            if score <= 0.05:
                continue
            near = (labels[i] == label) & (scores[i] >= score - 0.002)
            if not near.any() or overlaps(box[None], boxes[i][near] / side).max() < min(0.95, OVERLAP):
                missed += 1
    return missed
