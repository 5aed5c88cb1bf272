"""The places between those of a coarse picture, filled in by a few steps that write many places each.

Reed et al., "Parallel Multiscale Autoregressive Density Estimation", ICML 2017: a picture of every other place is known, then
come the places between four of them, then those beside and those below.  Changed: shallow gated networks look at small
windows, start from a regression, and learn from places drawn at random, of which neighbours would say the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from assay.generation.parts import Inputs, pick_logits
from assay.model.graph import Scope
from search_spaces.generative._causal import causal_mask
from search_spaces.generative._curves import CURVES, SAMPLED, as_seen, begin_curves, curve_nats, emit_curve, straight

LEAST_SIDE = 4  # of the coarse picture
PLACES = 512  # that a step of training looks at, of every group
EDGE = 2  # how far windows reach beyond a picture

Window = tuple[int, range, range]  # which of the known grids, rows and columns around a place's own
GROUPS: tuple[tuple[Window, ...], ...] = (
    ((0, range(-1, 3), range(-1, 3)),),
    ((0, range(-1, 2), range(-1, 3)), (1, range(-2, 2), range(-1, 2))),
    ((0, range(-1, 3), range(-1, 2)), (1, range(-1, 2), range(-2, 2)), (2, range(2), range(-1, 1))),
)
CORNERS = ((0, 0), (1, 1), (0, 1), (1, 0))  # of a square of four, in the order they are written


def coarse_step(size: int) -> int:
    """How far apart the places of the coarse picture lie; 1 where there is nothing to halve."""
    step = 1
    while size % (2 * step) == 0 and size // (2 * step) >= LEAST_SIDE:
        step *= 2
    return step


@dataclass(frozen=True, eq=False)
class Places:
    """What the groups learn from.  grids: for every size, the coarsest first, the four grids of its pictures, codes as
    uint8 (n, h + 2 EDGE, h + 2 EDGE, C)."""

    grids: Sequence[Sequence[np.ndarray]]

    @staticmethod
    def of(codes: np.ndarray, step: int) -> Places:
        """codes: (n, S, S, C)."""
        grids = []
        while step > 1:
            step //= 2
            seen = codes[:, ::step, ::step]
            edge = ((0, 0), (EDGE, EDGE), (EDGE, EDGE), (0, 0))
            grids.append([np.pad(seen[:, a::2, b::2], edge, "edge").astype(np.uint8) for a, b in CORNERS])
        return Places(grids)

    def draw(self, n: int, rng: np.random.Generator) -> list[tuple[Tensor, ...]]:
        """For every group n places: windows uint8 (n, d), rows and columns (n,), codes uint8 (n, C)."""
        found = []
        for grids in self.grids:
            h = grids[0].shape[1] - 2 * EDGE
            for g, windows in enumerate(GROUPS):
                i, row, column = rng.integers(0, len(grids[0]), n), *rng.integers(0, h, (2, n))
                seen = [
                    grids[k][i, row + EDGE + a, column + EDGE + b]
                    for k, rows, columns in windows
                    for a in rows
                    for b in columns
                ]
                own = grids[g + 1][i, row + EDGE, column + EDGE]
                found.append(tuple(torch.from_numpy(x) for x in (np.concatenate(seen, 1), row, column, own)))
        return found


class Finer(nn.Module):
    """n_levels: of codes, which the networks see as -1..1; curved: they are 256, and drawn from curves."""

    def __init__(self, size: int, channels: int, width: int, n_levels: int, curved: bool) -> None:
        super().__init__()
        self.size, self.channels, self.n_levels, self.curved = size, channels, n_levels, curved
        self.coarse = size // coarse_step(size)
        sides = [self.coarse * 2**k for k in range((size // self.coarse).bit_length() - 1)]
        answers = 3 * CURVES if curved else n_levels
        self.groups = nn.ModuleList(
            _Group(windows, side, channels, width, answers, curved) for side in sides for windows in GROUPS
        )

    def _each(self) -> Iterator[_Group]:
        for group in self.groups:
            yield cast("_Group", group)

    @property
    def uniform(self) -> int:
        """How many uniform numbers a picture takes."""
        return (self.size**2 - self.coarse**2) * self.channels * (2 if self.curved else 1)

    def _seen(self, codes: Tensor) -> Tensor:
        return cast("Tensor", as_seen(codes.float(), self.n_levels))

    def start(self, places: Places, rng: np.random.Generator) -> None:
        """The straight parts of curves from regressions."""
        for group, (windows, _, _, own) in zip(self._each(), places.draw(SAMPLED, rng), strict=True):
            group.start(self._seen(windows), self._seen(own))

    def loss(self, drawn: Sequence[tuple[Tensor, ...]]) -> Tensor:
        """Mean nats a value, the mean of all groups.  drawn: of `Places.draw`."""
        parts = []
        for group, (windows, row, column, own) in zip(self._each(), drawn, strict=True):
            seen = self._seen(own)
            found = group(self._seen(windows), row, column, seen)
            if self.curved:
                parts.append(curve_nats(found.reshape(-1, 3 * CURVES), seen.reshape(-1)))
            else:
                parts.append(F.cross_entropy(found.reshape(-1, self.n_levels), own.reshape(-1).long()))
        return torch.stack(parts).mean()

    def emit(self, inputs: Inputs, codes: str, uniform: str, calm: float) -> str:
        """Whole pictures, int64 [N, S, S, C], from coarse ones.  uniform: [N, self.uniform]."""
        s, unit = inputs.scope, np.float32(2.0 / max(1, self.n_levels - 1))
        seen = s.add("Sub", s.add("Mul", s.add("Cast", codes, to=1), s.const(unit)), s.const(np.float32(1)))
        seen = s.add("Transpose", seen, perm=[0, 3, 1, 2])
        known, first = [seen], 0
        for i, group in enumerate(self._each()):
            count = group.side**2 * self.channels * (2 if self.curved else 1)
            u = s.add("Slice", uniform, s.const([first]), s.const([first + count]), s.const([1]))
            first += count
            known.append(group.emit(s, known, u, unit, calm))
            if i % len(GROUPS) == len(GROUPS) - 1:
                whole = s.add("Concat", *(known[CORNERS.index(c)] for c in ((0, 0), (0, 1), (1, 0), (1, 1))), axis=1)
                known = [s.add("DepthToSpace", whole, blocksize=2, mode="DCR")]
        found = s.add("Div", s.add("Add", known[0], s.const(np.float32(1))), s.const(unit))
        return s.add("Transpose", s.add("Cast", s.add("Round", found), to=7), perm=[0, 2, 3, 1])


class _Group(nn.Module):
    """Writes all places of one group at once, channel after channel."""

    own_mask: Tensor
    inner_mask: Tensor
    last_mask: Tensor
    straight_mask: Tensor
    left: Tensor

    def __init__(
        self, windows: Sequence[Window], side: int, channels: int, width: int, answers: int, curved: bool
    ) -> None:
        super().__init__()
        w = -(-width // channels) * channels
        self.windows, self.side, self.channels, self.answers, self.curved = windows, side, channels, answers, curved
        n_seen = channels * sum(len(rows) * len(columns) for _, rows, columns in windows)
        self.seen, self.own = nn.Linear(n_seen, 2 * w), nn.Linear(channels, 2 * w, bias=False)
        self.row, self.column = (nn.Parameter(torch.zeros(side, 2 * w)) for _ in range(2))
        self.one, self.two, self.last = nn.Linear(w, w), nn.Linear(w, w), nn.Linear(w, channels * answers)
        masks = {"inner_mask": (w, w, True), "last_mask": (channels * answers, w, True)}
        if curved:
            self.straight = nn.Linear(n_seen, channels)
            self.straight_own = nn.Linear(channels, channels, bias=False)
            self.register_buffer("left", torch.ones(channels))
            masks["straight_mask"] = (channels, channels, False)
        for name, (outputs, into, own) in masks.items():
            self.register_buffer(name, torch.from_numpy(causal_mask(outputs, into, 1, channels, own)[:, :, 0, 0]))
        once = causal_mask(w, channels, 1, channels, own=False)[:, :, 0, 0]
        self.register_buffer("own_mask", torch.from_numpy(np.concatenate([once, once])))

    @torch.no_grad()
    def start(self, seen: Tensor, own: Tensor) -> None:
        if not self.curved:
            return
        known = np.ones((self.channels, seen.shape[1] + self.channels), bool)
        known[:, seen.shape[1] :] = self.straight_mask.numpy() > 0
        weights, left = straight(torch.cat([seen, own], 1).double().numpy(), known, own.double().numpy())
        self.left.copy_(torch.from_numpy(left))
        self.straight.weight.copy_(torch.from_numpy(weights[:, : seen.shape[1]]))
        self.straight_own.weight.copy_(torch.from_numpy(weights[:, seen.shape[1] : -1]))
        self.straight.bias.copy_(torch.from_numpy(weights[:, -1]))
        begin_curves(self.last)

    def forward(self, seen: Tensor, row: Tensor, column: Tensor, own: Tensor) -> Tensor:
        """(n, C, L) logits, or (n, C, 3 * CURVES) mixtures."""
        h = self.seen(seen) + F.linear(own, self.own.weight * self.own_mask) + self.row[row] + self.column[column]
        a, b = h.chunk(2, 1)
        h = torch.tanh(a) * torch.sigmoid(b)
        inside = F.relu(F.linear(h, self.one.weight * self.inner_mask, self.one.bias))
        h = h + F.linear(inside, self.two.weight * self.inner_mask, self.two.bias)
        found = F.linear(F.relu(h), self.last.weight * self.last_mask, self.last.bias)
        found = found.reshape(-1, self.channels, self.answers)
        if not self.curved:
            return found
        line = self.straight(seen) + F.linear(own, self.straight_own.weight * self.straight_mask)
        logits, mean, scale = found.split(CURVES, 2)
        left = self.left[:, None]
        return torch.cat([logits, line[..., None] + left * mean, scale + left.log()], 2)

    def emit(self, s: Scope, known: Sequence[str], uniform: str, unit: np.float32, calm: float) -> str:
        """The grid of these places, [N, C, h, h], as networks see it.  known: the grids before it, likewise; uniform: [N, u]."""

        def const(x: Tensor) -> str:
            return s.const(x.detach().numpy().astype(np.float32))

        wide, channels = len(self.seen.weight), self.channels
        looking = [self.seen, self.straight] if self.curved else [self.seen]
        weight, bias = torch.cat([x.weight for x in looking]), torch.cat([x.bias for x in looking])
        found = s.add("Reshape", const(bias), s.const([1, -1, 1, 1]))
        for k, kernel, rows, columns in self._kernels(weight):
            edge = s.const(np.array([0, 0, EDGE, EDGE] * 2, np.int64))
            grid = s.add("Pad", known[k], edge, mode="edge")
            first = [EDGE + rows.start, EDGE + columns.start]
            last = [EDGE + rows.stop - 1 + self.side, EDGE + columns.stop - 1 + self.side]
            grid = s.add("Slice", grid, s.const(first), s.const(last), s.const([2, 3]))
            found = s.add("Add", found, s.add("Conv", grid, const(kernel)))
        where = (self.row[:, None] + self.column[None]).permute(2, 0, 1)
        line = ""
        if self.curved:
            found, line = s.add_many("Split", found, s.const([wide, channels]), outputs=2, axis=1)
            line = s.add("Reshape", s.add("Transpose", line, perm=[0, 2, 3, 1]), s.const([-1, channels]))
        found = s.add("Transpose", s.add("Add", found, const(where[None])), perm=[0, 2, 3, 1])
        found = s.add("Reshape", found, s.const([-1, wide]))  # (N * h * h, 2w)
        each = s.add("Reshape", uniform, s.const([-1, channels * (2 if self.curved else 1)]))
        written: list[str] = []  # channels, [N * h * h, 1]
        for c in range(channels):
            h, here = found, s.add("Slice", line, s.const([c]), s.const([c + 1]), s.const([1])) if line else ""
            if written:
                own = s.add("Concat", *written, axis=1) if c > 1 else written[0]
                h = s.add("Add", h, s.add("MatMul", own, const((self.own.weight * self.own_mask)[:, :c].T)))
                if line:
                    here = s.add("Add", here, s.add("MatMul", own, const(self.straight_own.weight[c : c + 1, :c].T)))
            answer = self._answer(s, h, c)
            u = [
                s.add("Slice", each, s.const([c + k * channels]), s.const([c + k * channels + 1]), s.const([1]))
                for k in range(2 if self.curved else 1)
            ]
            if self.curved:
                logits, mean, scale = s.add_many("Split", answer, outputs=3, axis=1, num_outputs=3)
                left = float(self.left[c])
                mean = s.add("Add", here, s.add("Mul", mean, s.const(np.float32(left))))
                scale = s.add("Add", scale, s.const(np.float32(np.log(left))))
                code = emit_curve(s, s.add("Concat", logits, mean, scale, axis=1), u[0], u[1], calm)
            else:
                code = pick_logits(s, answer, u[0])
            value = s.add("Mul", s.add("Cast", code, to=1), s.const(unit))
            written.append(s.add("Unsqueeze", s.add("Sub", value, s.const(np.float32(1))), s.const([1])))
        grid = s.add("Concat", *written, axis=1) if channels > 1 else written[0]
        grid = s.add("Reshape", grid, s.const([-1, self.side, self.side, channels]))
        return s.add("Transpose", grid, perm=[0, 3, 1, 2])

    def _answer(self, s: Scope, h: str, channel: int) -> str:
        """What the network says of one channel, [N * h * h, answers]."""

        def layer(x: str, weight: Tensor, bias: Tensor) -> str:
            return s.add("Gemm", x, *(s.const(p.detach().numpy().astype(np.float32)) for p in (weight.T, bias)))

        a, b = s.add_many("Split", h, outputs=2, axis=1, num_outputs=2)
        h = s.add("Mul", s.add("Tanh", a), s.add("Sigmoid", b))
        inside = s.add("Relu", layer(h, self.one.weight * self.inner_mask, self.one.bias))
        h = s.add("Add", h, layer(inside, self.two.weight * self.inner_mask, self.two.bias))
        rows = slice(channel * self.answers, (channel + 1) * self.answers)
        return layer(s.add("Relu", h), (self.last.weight * self.last_mask)[rows], self.last.bias[rows])

    def _kernels(self, weight: Tensor) -> Iterator[tuple[int, Tensor, range, range]]:
        """Parts of weights (o, d) of a window, as kernels (o, C, height, width) over the known grids."""
        first = 0
        for k, rows, columns in self.windows:
            count = len(rows) * len(columns) * self.channels
            part = weight[:, first : first + count].reshape(-1, len(rows), len(columns), self.channels)
            yield k, part.permute(0, 3, 1, 2), rows, columns
            first += count
