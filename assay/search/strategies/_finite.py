"""Counting and listing the configurations of a space, each behaviour once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

from assay.space import Choice, Dimension, Float, Space, Value, Values

MOST_POINTS = 1 << 20  # of one real dimension, when its points are listed at all


@lru_cache(maxsize=512)
def cardinality(space: Space) -> float:
    """Number of distinct configurations with conditions discounted; infinite with a real dimension that can count."""
    deciding: dict[str, set[Value]] = {}
    for d in space:
        if d.when is not None:
            deciding.setdefault(d.when.name, set()).update(d.when.values)
    return _count(space, 0, {}, set(), deciding)


def configurations(space: Space) -> Iterator[Values]:
    """Every distinct configuration once, lazily; a real dimension yields ever finer points."""
    return _list(space, 0, {}, set())


def _count(space: Space, at: int, values: Values, active: set[str], deciding: dict[str, set[Value]]) -> float:
    if at == len(space.dimensions):
        return 1.0
    d = space.dimensions[at]
    if not _is_active(d, values, active):
        return _count(space, at + 1, {**values, d.name: d.default}, active, deciding)
    active = active | {d.name}
    total = _options(d)
    if math.isinf(total):
        return math.inf
    # Only values that some condition names lead to different continuations; all others count as one branch.
    named = [v for v in deciding.get(d.name, ()) if d.domain.contains(v)]
    counted = sum(_count(space, at + 1, {**values, d.name: v}, active, deciding) for v in named)
    rest = total - len(named)
    if rest > 0:
        other = next(v for v in _values(d) if v not in named)
        counted += rest * _count(space, at + 1, {**values, d.name: other}, active, deciding)
    return counted


def _list(space: Space, at: int, values: Values, active: set[str]) -> Iterator[Values]:
    if at == len(space.dimensions):
        yield values
        return
    d = space.dimensions[at]
    if not _is_active(d, values, active):
        yield from _list(space, at + 1, {**values, d.name: d.default}, active)
        return
    for value in _values(d):
        yield from _list(space, at + 1, {**values, d.name: value}, active | {d.name})


def _is_active(d: Dimension, values: Values, active: set[str]) -> bool:
    return d.when is None or (d.when.name in active and d.when.holds(values))


def _options(d: Dimension) -> float:
    if isinstance(d.domain, Choice):
        return len(d.domain.values)
    if isinstance(d.domain, Float):
        return math.inf if d.domain.low < d.domain.high else 1.0
    return d.domain.high - d.domain.low + 1


def _values(d: Dimension) -> Iterator[Value]:
    if isinstance(d.domain, Choice):
        yield from d.domain.values
    elif not isinstance(d.domain, Float):
        yield from range(d.domain.low, d.domain.high + 1)
    elif d.domain.low == d.domain.high:
        yield d.domain.low
    else:
        yield from (d.domain.from_unit(_van_der_corput(i)) for i in range(1, MOST_POINTS))


def _van_der_corput(i: int) -> float:
    """The i-th point of the base-2 sequence that fills (0, 1) evenly: 1/2, 1/4, 3/4, 1/8, ..."""
    point, weight = 0.0, 0.5
    while i:
        point += weight * (i & 1)
        i >>= 1
        weight /= 2
    return point
