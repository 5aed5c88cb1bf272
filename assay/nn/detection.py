"""Detectors without anchors: FCOS over a feature pyramid, and a small DETR.  Both answer a box and class scores at places.

An answer is (P, 4 + classes) for P places: x0, y0, x1, y1 in shares of the side, then the scores; flattened to one row.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from assay.model.graph import Scope
from assay.nn.conv2d import TORCH, Maps, PictureMaps, ScopeMaps, Unit, Value
from assay.nn.pyramids import Pyramid

STRIDES = (8, 16, 32)
PRIOR = 0.01  # score of every place before training, as in RetinaNet


def places(side: int, strides: tuple[int, ...] = STRIDES) -> tuple[np.ndarray, np.ndarray]:
    """Centres (P, 2) as x, y and strides (P,) of all places, in shares of the side."""
    centres, steps = [], []
    for stride in strides:
        at = (np.arange(side // stride) + 0.5) * stride / side
        y, x = np.meshgrid(at, at, indexing="ij")
        centres.append(np.stack([x.ravel(), y.ravel()], 1))
        steps.append(np.full(x.size, stride / side))
    return np.concatenate(centres).astype(np.float32), np.concatenate(steps).astype(np.float32)


def mirrored_places(side: int, strides: tuple[int, ...] = STRIDES) -> np.ndarray:
    """For every place the one that is in its place in the mirror, int64 (P,)."""
    found, before = [], 0
    for stride in strides:
        k = side // stride
        found.append(before + np.arange(k * k).reshape(k, k)[:, ::-1].ravel())
        before += k * k
    return np.concatenate(found)


class Detector(PictureMaps):
    """shrink: by which the square is made smaller first.  side: of the square after that."""

    pyramid: Pyramid

    def __init__(self, classes: int, side: int, shrink: int) -> None:
        super().__init__()
        self.classes, self.side, self.shrink = classes, side, shrink

    def compute(self, ops: Maps, x: Value) -> Value:
        return self.body(ops, ops.avg_pool(x, self.shrink, self.shrink) if self.shrink > 1 else x)

    def factor_of(self, name: str) -> float:
        """By what the learning rate of a parameter is multiplied: less for what was trained before."""
        return self.pyramid.factor_of(name.removeprefix("pyramid.")) if name.startswith("pyramid.") else 1.0

    def answer(self, ops: Maps, boxes: Value, scores: Value) -> Value:
        """boxes: (N, 4, P), scores: (N, classes, P) -> (N, P * (4 + classes))."""
        joined = ops.transpose(ops.concat([ops.clip(boxes, 0.0, 1.0), scores], 1), (0, 2, 1))
        return ops.reshape(joined, (-1,))

    def raw(self, ops: Maps, x: Value) -> Any:
        """What the loss looks at."""
        raise NotImplementedError

    def told(self, x: Tensor) -> Any:
        """`raw` of training pictures, float (N, 3, side, side), already small."""
        return self.raw(TORCH, x)

    def emit(self, scope: Scope, x: str) -> str:
        ops = ScopeMaps(scope)
        return str(self.compute(ops, ops.pixels(x)))


class Fcos(Detector):
    """Tian, Shen, Chen, He: FCOS, Fully Convolutional One-Stage Object Detection. ICCV 2019.

    On a feature pyramid (Lin et al.: Feature Pyramid Networks. CVPR 2017).  Changed: three levels, one tower of `depth`
    convolutions for both questions with batch norms of each level's own, distances as softplus, no centre-ness: which places
    answer for a thing, and how sure they are to be, is learned from how well their boxes fit (`vision.losses.aligned_loss`).

    pyramid: maps at strides 8, 16 and 32.  wide: channels of the heads.
    """

    turns: ClassVar[bool] = True

    def __init__(self, classes: int, side: int, shrink: int, pyramid: Pyramid, wide: int, depth: int) -> None:
        super().__init__(classes, side, shrink)
        self.pyramid = pyramid
        self.lateral = nn.ModuleList(nn.Conv2d(c, wide, 1) for c in pyramid.channels)
        self.smooth = nn.ModuleList(Unit(wide, wide) for _ in STRIDES)
        self.tower = nn.ModuleList(nn.ModuleList(Unit(wide, wide) for _ in range(depth)) for _ in STRIDES)
        self.kind = nn.Conv2d(wide, classes, 3, padding=1)
        self.reach = nn.Conv2d(wide, 4, 3, padding=1)
        for conv in (self.kind, self.reach):
            nn.init.normal_(conv.weight, std=0.01)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.kind.bias, -math.log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type]
        nn.init.constant_(self.reach.bias, 1.0)  # type: ignore[arg-type]

    def turned_back(self, ops: Maps, answer: Value) -> Value:
        width = 4 + self.classes
        turned = np.eye(width, dtype=np.float32)  # of places' rows: x0 and x1 change places and sides
        turned[:4, :4] = [[0, 0, -1, 0], [0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1]]
        shift = np.zeros(width, np.float32)
        shift[[0, 2]] = 1.0
        table = ops.picked(ops.reshape(answer, (-1, width)), mirrored_places(self.side), 1)
        return ops.reshape(ops.add(ops.matmul(table, ops.const(turned)), ops.const(shift)), (-1,))

    def raw(self, ops: Maps, x: Value) -> tuple[Value, Value]:
        """Logits (N, classes, P), and distances to the left, top, right and bottom in strides (N, 4, P)."""
        levels = self.pyramid.compute(ops, x)
        maps: list[Value] = []
        above: Value = None
        for level, lateral in zip(reversed(levels), reversed(list(self.lateral)), strict=True):
            here = ops.conv(level, lateral)
            above = here if above is None else ops.add(here, ops.doubled(above))
            maps.insert(0, above)
        kinds, reaches = [], []
        for m, smooth, tower in zip(maps, self.smooth, self.tower, strict=True):
            h = smooth.compute(ops, m)  # type: ignore[operator]
            for unit in tower:  # type: ignore[attr-defined]
                h = unit.compute(ops, h)
            kinds.append(ops.reshape(ops.conv(h, self.kind), (self.classes, -1)))
            reaches.append(ops.reshape(ops.softplus(ops.conv(h, self.reach)), (4, -1)))
        return ops.concat(kinds, 2), ops.concat(reaches, 2)

    def body(self, ops: Maps, x: Value) -> Value:
        kinds, reaches = self.raw(ops, x)
        at, steps = places(self.side)
        signs = np.array([-1, -1, 1, 1], np.float32)[:, None] * steps[None]
        boxes = ops.add(ops.const(np.tile(at.T, (2, 1))[None]), ops.mul(reaches, ops.const(signs[None])))
        return self.answer(ops, boxes, ops.sigmoid(kinds))


class Detr(Detector):
    """Carion et al.: End-to-End Object Detection with Transformers. ECCV 2020.

    Changed so that it learns from little: queries start as a grid of boxes and refine them (Liu et al.: DAB-DETR. ICLR
    2022), scores are sigmoids, and a dense head on the same maps is trained beside it (Zong, Song, Liu: Co-DETR. ICCV
    2023); it is not delivered.

    pyramid: its last map is at stride 16.
    """

    def __init__(
        self, classes: int, side: int, shrink: int, pyramid: Pyramid, d: int, layers: int, queries: int
    ) -> None:
        super().__init__(classes, side, shrink)
        self.d, self.queries, self.heads = d, queries, 4
        self.pyramid = pyramid
        self.inward = nn.Conv2d(pyramid.channels[-1], d, 1)
        self.encoder = nn.ModuleList(_Attending(d, False) for _ in range(1))
        self.decoder = nn.ModuleList(_Attending(d, True) for _ in range(layers))
        self.query = nn.Parameter(torch.randn(queries, d) * 0.5)
        across = math.ceil(math.sqrt(queries))
        grid = (np.stack(np.meshgrid(*[np.arange(across)] * 2), -1).reshape(-1, 2)[:queries] + 0.5) / across
        start = np.concatenate([np.log(grid / (1 - grid)), np.full((queries, 2), -0.85)], 1)
        self.start = nn.Parameter(torch.from_numpy(start).float())
        self.kind, self.box = nn.Linear(d, classes), nn.Linear(d, 4)
        nn.init.constant_(self.kind.bias, -math.log((1 - PRIOR) / PRIOR))
        nn.init.zeros_(self.box.weight)
        nn.init.zeros_(self.box.bias)
        self.dense = nn.Conv2d(d, classes, 1)
        nn.init.constant_(self.dense.bias, -math.log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type]

    def raw(self, ops: Maps, x: Value) -> tuple[Value, Value, Value]:
        """Of every layer: logits (N, Q, classes) and boxes (N, Q, 4) as centre and size; and the dense head's logits."""
        level = ops.relu(ops.conv(self.pyramid.compute(ops, x)[-1], self.inward))
        tokens = ops.transpose(ops.reshape(level, (self.d, -1)), (0, 2, 1))
        place = ops.const(_waves(self.side // 16, self.d))
        for layer in self.encoder:
            tokens = layer.compute(ops, tokens, place, None, None)  # type: ignore[operator]
        # the queries for every picture: nothing of it but its number of rows
        none = ops.mul(ops.mean(tokens, (1,), keep=True), ops.const(np.zeros((1, 1, 1), np.float32)))
        who = ops.const(self.query[None])
        h = ops.add(none, who)
        kinds, boxes = [], []
        for layer in self.decoder:
            h = layer.compute(ops, h, who, tokens, place)  # type: ignore[operator]
            kinds.append(ops.linear(h, self.kind))
            boxes.append(ops.sigmoid(ops.add(ops.linear(h, self.box), ops.const(self.start[None]))))
        return kinds, boxes, level

    def body(self, ops: Maps, x: Value) -> Value:
        kinds, boxes, _ = self.raw(ops, x)
        half = np.array([[1, 0, -0.5, 0], [0, 1, 0, -0.5], [1, 0, 0.5, 0], [0, 1, 0, 0.5]], np.float32).T
        corners = ops.matmul(boxes[-1], ops.const(half.copy()))
        turned = (0, 2, 1)
        return self.answer(ops, ops.transpose(corners, turned), ops.transpose(ops.sigmoid(kinds[-1]), turned))


class _Attending(nn.Module):
    """A transformer layer, norms first: attention to itself, to `other` where there is one, then a feed-forward part."""

    def __init__(self, d: int, crosses: bool, heads: int = 4) -> None:
        super().__init__()
        self.d, self.heads = d, heads
        self.own = nn.ModuleList(nn.Linear(d, d) for _ in range(4))
        self.cross = nn.ModuleList(nn.Linear(d, d) for _ in range(4)) if crosses else None
        self.up, self.down = nn.Linear(d, 2 * d), nn.Linear(2 * d, d)
        self.norms = nn.ModuleList(nn.LayerNorm(d) for _ in range(3))

    def compute(self, ops: Maps, x: Value, place: Value, other: Value, other_place: Value) -> Value:
        h = ops.layer_norm(x, self.norms[0])
        x = ops.add(x, self._attend(ops, self.own, ops.add(h, place), ops.add(h, place), h))
        if self.cross is not None:
            h = ops.layer_norm(x, self.norms[1])
            x = ops.add(x, self._attend(ops, self.cross, ops.add(h, place), ops.add(other, other_place), other))
        h = ops.layer_norm(x, self.norms[2])
        return ops.add(x, ops.linear(ops.relu(ops.linear(h, self.up)), self.down))

    def _attend(self, ops: Maps, maps: Any, query: Value, key: Value, value: Value) -> Value:
        split = (-1, self.heads, self.d // self.heads)
        q = ops.transpose(ops.reshape(ops.linear(query, maps[0]), split), (0, 2, 1, 3))
        k = ops.transpose(ops.reshape(ops.linear(key, maps[1]), split), (0, 2, 3, 1))
        v = ops.transpose(ops.reshape(ops.linear(value, maps[2]), split), (0, 2, 1, 3))
        scale = ops.const(np.array(1 / math.sqrt(self.d / self.heads), np.float32))
        told = ops.matmul(ops.softmax(ops.mul(ops.matmul(q, k), scale)), v)
        return ops.linear(ops.reshape(ops.transpose(told, (0, 2, 1, 3)), (-1, self.d)), maps[3])


def _waves(n: int, d: int) -> np.ndarray:
    """Sines and cosines of x and y for n x n places: float32 (1, n * n, d)."""
    at = (np.arange(n) + 0.5) / n * 2 * math.pi
    rates = 2.0 ** np.arange(d // 4) / 2
    rates = np.minimum(rates, n / 2)
    wave = np.concatenate([np.sin(at[:, None] * rates), np.cos(at[:, None] * rates)], 1)  # (n, d / 2)
    both = np.concatenate([np.repeat(wave, n, 0), np.tile(wave, (n, 1))], 1)
    return np.ascontiguousarray(both[None], np.float32)
