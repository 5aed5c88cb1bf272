"""Hashed n-grams of rows of token numbers: counted by NumPy for training, found by graph nodes for serving.

An n-gram's id is the last `bits` bits of a polynomial hash of its tokens modulo the prime 2^31 - 1; 0 is no n-gram (past
the end of a text, and the one in 2^bits that falls there).  Hashing needs no vocabulary: Weinberger, Dasgupta, Langford, Smola, Attenberg: Feature
Hashing for Large Scale Multitask Learning, ICML 2009.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from assay.model.graph import Scope

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

PRIME = 2**31 - 1
FACTOR, STIR = 1_000_003, 48_271
CHUNK = 1 << 22  # ids sorted at once


def all_ids(tokens: np.ndarray, orders: Sequence[int], salt: int, bits: int) -> np.ndarray:
    """The ids of n-grams of several orders side by side.  tokens: int (rows, length), 0 behind the end -> int32 (rows, L)."""
    wide = tokens.astype(np.int64)
    length = wide.shape[1]
    parts = [np.zeros((len(wide), 0), np.int32)]
    h = np.full(wide.shape, salt * 7919 + 1, np.int64)
    for n in range(1, min(max(orders), length) + 1):
        h = (h[:, : length - n + 1] * FACTOR + wide[:, n - 1 :]) % PRIME
        if n in orders:
            ids = (h * STIR + salt) % PRIME % (1 << bits)
            parts.append(np.where(wide[:, n - 1 :] > 0, ids, 0).astype(np.int32))
    return np.concatenate(parts, axis=1)


def emit_ids(scope: Scope, tokens: str, width: int, orders: Sequence[int], salt: int, bits: int) -> str:
    """`all_ids` as nodes.  tokens: int64 [N, width] -> int64 [N, L]."""

    def const(v: int) -> str:
        return scope.const(np.array([v], np.int64))

    def part(value: str, start: int, end: int) -> str:
        return scope.add("Slice", value, const(start), const(end), const(1))

    parts = []
    h = const(salt * 7919 + 1)
    for n in range(1, min(max(orders), width) + 1):
        last = part(tokens, n - 1, width)
        before = h if n == 1 else part(h, 0, width - n + 1)
        h = scope.add("Mod", scope.add("Add", scope.add("Mul", before, const(FACTOR)), last), const(PRIME))
        if n in orders:
            stirred = scope.add("Mod", scope.add("Add", scope.add("Mul", h, const(STIR)), const(salt)), const(PRIME))
            ids = scope.add("Mod", stirred, const(1 << bits))
            parts.append(scope.add("Where", scope.add("Greater", last, const(0)), ids, const(0)))
    return parts[0] if len(parts) == 1 else scope.add("Concat", *parts, axis=1)


def counts(tokens: np.ndarray, orders: Sequence[int], salt: int, bits: int) -> csr_matrix:
    """How often each n-gram stands in each row: sparse float32 (rows, 2^bits), indices sorted."""
    from scipy.sparse import csr_matrix, vstack

    step = max(1, CHUNK // max(1, tokens.shape[1] * len(orders)))
    parts = [_counted(all_ids(tokens[i : i + step], orders, salt, bits), bits) for i in range(0, len(tokens), step)]
    if not parts:
        return csr_matrix((0, 1 << bits), dtype=np.float32)
    return parts[0] if len(parts) == 1 else csr_matrix(vstack(parts, format="csr"))


def _counted(ids: np.ndarray, bits: int) -> csr_matrix:
    from scipy.sparse import csr_matrix

    ids = np.sort(ids, axis=1)
    first = np.ones(ids.shape, bool)
    first[:, 1:] = ids[:, 1:] != ids[:, :-1]
    starts = np.flatnonzero(first)
    times = np.diff(np.append(starts, ids.size))
    values = ids.ravel()[starts]
    real = values > 0
    per_row = np.bincount(starts[real] // max(1, ids.shape[1]), minlength=len(ids))
    ends = np.concatenate([[0], np.cumsum(per_row)])
    return csr_matrix((times[real].astype(np.float32), values[real], ends), shape=(len(ids), 1 << bits))


def lowered(counted: csr_matrix, bits: int) -> csr_matrix:
    """The counts for fewer bits from those for more: ids are cut, and what meets is added up."""
    from scipy.sparse import csr_matrix

    found = csr_matrix(
        (counted.data, counted.indices & ((1 << bits) - 1), counted.indptr), (counted.shape[0], 1 << bits)
    )
    found = found.copy()
    found.data[found.indices == 0] = 0
    found.sum_duplicates()
    found.eliminate_zeros()
    return found
