"""Augmentation of pictures together with their boxes or masks, whole batches as tensors.

One map a picture: a window of it, mirrored or not, larger or smaller, is the new picture; grey lies outside.  A mosaic
takes its window from four pictures side by side (Bochkovskiy, Wang, Liao: YOLOv4, 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from assay.data.front_image import GREY
from assay.metrics.detection import Things
from assay.metrics.segmentation import IGNORED

SEEN = 0.3  # share of a thing that must be inside a window to be kept
LEAST = 0.015  # of the side: smaller things are dropped


@dataclass(frozen=True)
class Moves:
    """flip: chance of a mirror.  zoom: windows of exp(+-zoom) of the side.  colour: strength of changes in light and
    colour.  mosaic: chance that a batch is made of mosaics."""

    flip: float = 0.5
    zoom: float = 0.4
    colour: float = 0.3
    mosaic: float = 0.0


@dataclass(frozen=True, eq=False)
class Windows:
    """left, top: of the windows, in sides of the source; size: (n, 2) widths and heights; mirrored: bool (n,)."""

    left: np.ndarray
    top: np.ndarray
    size: np.ndarray
    mirrored: np.ndarray

    def cut(self, x: Tensor, side: int, mode: str = "bilinear") -> Tensor:
        """x: float (n, c, a, a), 0 outside -> (n, c, side, side)."""
        n = len(x)
        theta = torch.zeros(n, 2, 3)
        sign = torch.from_numpy(np.where(self.mirrored, -1.0, 1.0)).float()
        size = torch.from_numpy(self.size).float()
        theta[:, 0, 0], theta[:, 1, 1] = size[:, 0] * sign, size[:, 1]
        theta[:, 0, 2] = torch.from_numpy(2 * self.left).float() + size[:, 0] - 1
        theta[:, 1, 2] = torch.from_numpy(2 * self.top).float() + size[:, 1] - 1
        grid = F.affine_grid(theta, [n, x.shape[1], side, side], align_corners=False)
        return F.grid_sample(x, grid, mode=mode, padding_mode="zeros", align_corners=False)

    def boxes(self, i: int, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Boxes of source i, in its sides, as seen in its window, and which of them are kept."""
        moved = (boxes - np.array([self.left[i], self.top[i]] * 2)) / np.tile(self.size[i], 2)
        if self.mirrored[i]:
            moved = np.stack([1 - moved[:, 2], moved[:, 1], 1 - moved[:, 0], moved[:, 3]], 1)
        inside = np.clip(moved, 0.0, 1.0)
        span, whole = inside[:, 2:] - inside[:, :2], moved[:, 2:] - moved[:, :2]
        return inside, (span.prod(1) >= SEEN * whole.prod(1)) & (span.min(1, initial=1.0) >= LEAST)


def drawn_windows(n: int, moves: Moves, rng: np.random.Generator, mosaic: bool) -> Windows:
    """Windows at random."""
    zoom = np.exp(rng.uniform(-moves.zoom, moves.zoom, (n, 1)))
    stretch = np.exp(rng.uniform(-0.3, 0.3, (n, 1)) * moves.zoom)
    size = np.concatenate([zoom * stretch, zoom / stretch], 1)
    if mosaic:
        size = np.clip(size * 0.75, 0.3, 1.0)
    free = 1.0 - size
    jitter = rng.uniform(0.0, 1.0, (n, 2))
    place = jitter * free if moves.zoom or mosaic else np.zeros((n, 2))
    return Windows(place[:, 0], place[:, 1], size, rng.random(n) < moves.flip)


def moved_boxes(
    x: Tensor, things: Sequence[Things], rows: np.ndarray, moves: Moves, rng: np.random.Generator
) -> tuple[Tensor, list[Things]]:
    """A batch for a detector.  x: uint8 (m, 3, side, side) of all pictures; rows: (n,) that are wanted."""
    side = x.shape[-1]
    mosaic = moves.mosaic > 0 and len(x) >= 4 and rng.random() < moves.mosaic
    if not mosaic:
        source = x[torch.from_numpy(rows)].float() - GREY
        windows = drawn_windows(len(rows), moves, rng, False)
        told = [things[r] for r in rows]
    else:
        four = np.concatenate([rows[:, None], rng.integers(0, len(x), (len(rows), 3))], 1)
        four = rng.permuted(four, axis=1)
        tiles = x[torch.from_numpy(four.ravel())].float().view(len(rows), 2, 2, 3, side, side) - GREY
        source = tiles.permute(0, 3, 1, 4, 2, 5).reshape(len(rows), 3, 2 * side, 2 * side)
        windows = drawn_windows(len(rows), moves, rng, True)
        told = [_joined([things[r] for r in quad]) for quad in four]
    out = _coloured(windows.cut(source, side) + GREY, moves.colour, rng)
    made = []
    for i, t in enumerate(told):
        boxes, kept = windows.boxes(i, t.boxes)
        made.append(Things(boxes[kept], t.labels[kept], t.ignored[kept]))
    return out, made


def moved_masks(
    x: Tensor, y: Tensor, rows: np.ndarray, moves: Moves, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A batch for a segmenter.  y: uint8 (m, side, side) -> int64 (n, side, side), 255 outside."""
    at = torch.from_numpy(rows)
    windows = drawn_windows(len(rows), moves, rng, False)
    side = x.shape[-1]
    out = windows.cut(x[at].float() - GREY, side) + GREY
    masks = windows.cut((IGNORED - y[at].float())[:, None], y.shape[-1], "nearest")[:, 0]
    return _coloured(out, moves.colour, rng), IGNORED - masks.round().long()


def _joined(quad: Sequence[Things]) -> Things:
    """Four squares as one, in its sides."""
    offsets = np.array([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5], [0.5, 0.5]])
    boxes = [0.5 * t.boxes + np.tile(o, 2) for t, o in zip(quad, offsets, strict=True)]
    return Things(
        np.concatenate(boxes), np.concatenate([t.labels for t in quad]), np.concatenate([t.ignored for t in quad])
    )


def _coloured(x: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    if strength <= 0:
        return x
    n = len(x)

    def draw(*shape: int) -> Tensor:
        return torch.from_numpy(rng.uniform(-strength, strength, shape).astype(np.float32))

    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (1 + draw(n, 1, 1, 1))  # colour
    x = GREY + (x - GREY) * (1 + draw(n, 1, 1, 1))  # contrast
    return (x * (1 + 0.5 * draw(n, 1, 1, 1)) * (1 + 0.2 * draw(n, 3, 1, 1))).clamp(0.0, 255.0)
