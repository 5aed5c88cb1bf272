"""COCO's run lengths as masks, and masks as polygons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

MAX_PIXELS = 100_000_000


def decode_runs(segmentation: dict[str, Any]) -> np.ndarray:
    """The mask of {"size": [height, width], "counts": [...] or "..."}.  bool (height, width).

    Runs go down the columns and begin with background.  A text holds them as the COCO tools write them: five bits a
    character, and from the third run on the difference to the run before the last.  Raises ValueError.
    """
    height, width = (int(v) for v in segmentation["size"])
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise ValueError(f"a mask of {height} x {width}")
    counts = segmentation["counts"]
    runs = np.asarray(_from_text(counts) if isinstance(counts, str) else counts, np.int64)
    if runs.ndim != 1 or (runs < 0).any() or int(runs.sum()) != height * width:
        raise ValueError(f"runs of {int(runs.sum())} pixels for a mask of {height * width}")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.asarray(flat.reshape(width, height).T)


def _from_text(text: str) -> list[int]:
    runs: list[int] = []
    at = 0
    while at < len(text):
        value, shift, more = 0, 0, True
        while more:
            if at >= len(text):
                raise ValueError("the run lengths are cut off")
            bits = ord(text[at]) - 48
            if not 0 <= bits < 64:
                raise ValueError("a character that no run length has")
            value |= (bits & 0x1F) << shift
            more = bool(bits & 0x20)
            at, shift = at + 1, shift + 5
            if not more and bits & 0x10:
                value |= -1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
    return runs


def box_of(mask: np.ndarray) -> tuple[float, float, float, float] | None:
    """(x, y, width, height) around the mask, None for an empty one."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    x, y = int(columns[0]), int(rows[0])
    return float(x), float(y), float(columns[-1] + 1 - x), float(rows[-1] + 1 - y)


def outlines(mask: np.ndarray) -> list[list[float]]:
    """The outer borders of a mask as polygons [x1, y1, x2, y2, ...] along the edges of its pixels; holes are filled."""
    padded = np.pad(np.asarray(mask, bool), 1)
    follow: dict[tuple[int, int], list[tuple[int, int]]] = {}

    def edges(there: np.ndarray, start: Sequence[int], end: Sequence[int]) -> None:
        for r, c in np.argwhere(there).tolist():
            follow.setdefault((c + start[0], r + start[1]), []).append((c + end[0], r + end[1]))

    inside = padded[1:-1, 1:-1]
    # clockwise around the foreground: it lies to the right of every edge
    edges(inside & ~padded[:-2, 1:-1], (0, 0), (1, 0))
    edges(inside & ~padded[1:-1, 2:], (1, 0), (1, 1))
    edges(inside & ~padded[2:, 1:-1], (1, 1), (0, 1))
    edges(inside & ~padded[1:-1, :-2], (0, 1), (0, 0))
    found: list[list[float]] = []
    while follow:
        loop = _loop(follow)
        if _area(loop) > 0:  # holes run the other way
            found.append([float(v) for point in _corners(loop) for v in point])
    return found


def _loop(follow: dict[tuple[int, int], list[tuple[int, int]]]) -> list[tuple[int, int]]:
    start = next(iter(follow))
    points, at, came = [start], start, (0, 0)
    while True:
        ways = follow[at]
        # where two corners touch, turn right, so that each of them is a loop of its own
        ways.sort(key=lambda p, a=at, d=came: d[0] * (p[1] - a[1]) - d[1] * (p[0] - a[0]))  # type: ignore[misc]
        to = ways.pop()
        if not ways:
            del follow[at]
        came, at = (to[0] - at[0], to[1] - at[1]), to
        if at == start:
            return points
        points.append(at)


def _area(points: Sequence[tuple[int, int]]) -> float:
    x, y = np.asarray(points, np.float64).T
    return float(0.5 * np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))


def _corners(points: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    n = len(points)
    kept = []
    for i, (x, y) in enumerate(points):
        (ax, ay), (bx, by) = points[i - 1], points[(i + 1) % n]
        if (x - ax) * (by - y) != (y - ay) * (bx - x):
            kept.append((x, y))
    return kept
