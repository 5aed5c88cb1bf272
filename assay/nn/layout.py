"""Named parameters of a net inside one flat buffer, so that K copies of the net are one (K, P) tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Layout:
    """Names and shapes in order.  Every parameter of a narrower net is the leading corner of the wider net's."""

    shapes: tuple[tuple[str, tuple[int, ...]], ...]

    @cached_property
    def size(self) -> int:
        return sum(math.prod(shape) for _, shape in self.shapes)

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """flat: (K, P) -> name: (K, *shape), sharing memory."""
        found: dict[str, Tensor] = {}
        start = 0
        for name, shape in self.shapes:
            end = start + math.prod(shape)
            found[name] = flat[:, start:end].unflatten(1, shape)
            start = end
        return found

    def pack(self, arrays: Arrays) -> np.ndarray:
        """One member's arrays, perhaps of a narrower net, as a flat (P,) row; what it lacks is zero."""
        parts = []
        for name, shape in self.shapes:
            full = np.zeros(shape, dtype=np.float64)
            full[_corner(arrays[name].shape)] = arrays[name]
            parts.append(full.ravel())
        return np.concatenate(parts)

    def unpack(self, flat: np.ndarray, narrow: Layout | None = None) -> dict[str, np.ndarray]:
        """flat: (P,) -> arrays by name, cut to the shapes of `narrow`."""
        shapes = dict((narrow or self).shapes)
        found: dict[str, np.ndarray] = {}
        start = 0
        for name, shape in self.shapes:
            end = start + math.prod(shape)
            found[name] = np.ascontiguousarray(flat[start:end].reshape(shape)[_corner(shapes[name])])
            start = end
        return found

    def row(self, factors: Mapping[str, float]) -> np.ndarray | None:
        """One factor per parameter, (P,), from factors by name; None when all are 1."""
        if all(factors.get(name, 1.0) == 1.0 for name, _ in self.shapes):
            return None
        return np.concatenate([np.full(math.prod(shape), factors.get(name, 1.0)) for name, shape in self.shapes])


def _corner(shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(0, s) for s in shape)
