"""Texts as weighted bags of hashed n-grams: the sparse matrix for training, and the linear answer over it as nodes.

A block is one kind of n-gram (of words, of characters) over all columns.  An n-gram that stands t times in a text weighs
(1 + log t) * idf, or idf alone, and every block of a text has length 1.  Salton, Buckley: Term-weighting Approaches in
Automatic Text Retrieval.  Information Processing & Management 24, 1988.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from assay.data.ngrams import PRIME, counts, emit_ids, lowered
from assay.data.texts import Block, Tokens
from assay.model.graph import Scope

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

LEAST_BITS, BITS = 16, 20  # of ids: four times as many as there are different n-grams, within these bounds
MOST_TIMES = 6  # an n-gram that stands more often counts as if it stood so often
MOST_FEATURES = 400_000


@dataclass(frozen=True)
class Kind:
    """n-grams of one view.  scale: length of the block."""

    view: str
    orders: tuple[int, ...]
    least_texts: int = 1
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class Bag:
    """A fitted block.  rows: int32 (2^bits,), the row of each id in `idf`, 0 for unknown; idf: float32 (v,), idf[0] = 0.

    values: float32 (MOST_TIMES + 1,), the weight of an n-gram by how often it stands in the text.
    """

    kind: Kind
    blocks: tuple[Block, ...]
    bits: int
    rows: np.ndarray
    idf: np.ndarray
    values: np.ndarray

    def matrix(self, x: np.ndarray) -> csr_matrix:
        """float32 (n, v): the weighted bag of every row."""
        return self._weighted(_counts(x, self.blocks, self.kind, self.bits))

    def _weighted(self, counted: csr_matrix) -> csr_matrix:
        from scipy.sparse import csr_matrix

        where = self.rows[counted.indices]
        times = np.minimum(counted.data, MOST_TIMES).astype(np.int64)
        data = self.values[times] * self.idf[where]
        n = counted.shape[0]
        row_of = np.repeat(np.arange(n), np.diff(counted.indptr))
        length = np.sqrt(np.bincount(row_of, data.astype(np.float64) ** 2, n))
        share = np.float32(self.kind.scale) / np.maximum(length, 1e-12)
        found = csr_matrix((data * share[row_of].astype(np.float32), where, counted.indptr), (n, len(self.idf)))
        found.sum_duplicates()
        return found

    def emit(self, scope: Scope, x: str, weight: str) -> str:
        """`matrix(x) @ weight` as nodes.  x: int64 [N, width]; weight: float32 [v, k] -> [N, k]."""

        def const(*v: int) -> str:
            return scope.const(np.array(v, np.int64))

        parts = []
        for block in self.blocks:
            view = scope.add("Slice", x, const(block.start), const(block.end), const(1))
            parts.append(emit_ids(scope, view, block.end - block.start, self.kind.orders, _salt(block), self.bits))
        total = sum(_n_ids(b, self.kind.orders) for b in self.blocks)
        ids = parts[0] if len(parts) == 1 else scope.add("Concat", *parts, axis=1)
        ordered = scope.add_many("TopK", ids, const(total), axis=1, largest=0, sorted=1, outputs=2)[0]
        again = const(0)  # how many of the same stand before it, up to a bound
        for j in range(1, min(self._seen_times, total)):
            left = scope.add("Slice", ordered, const(0), const(total - j), const(1))
            right = scope.add("Slice", ordered, const(j), const(total), const(1))
            same = scope.add("Cast", scope.add("Equal", left, right), to=7)
            again = scope.add("Add", again, scope.add("Pad", same, const(0, j, 0, 0), const0(scope)))
        if total == 1:
            again = scope.add("Mul", ordered, const(0))
        # the k-th occurrence adds what k times weigh more than k - 1 times, to the sum and to the squared length
        steps = np.append(np.diff(self.values), np.float32(0)).astype(np.float32)
        squares = np.append(np.diff(self.values.astype(np.float64) ** 2), 0).astype(np.float32)
        where = scope.add("Gather", scope.const(self.rows), ordered)
        idf = scope.add("Gather", scope.const(self.idf), where)
        square = scope.add("Mul", scope.add("Mul", idf, idf), scope.add("Gather", scope.const(squares), again))
        length = scope.add("Sqrt", scope.add("ReduceSum", square, const(1), keepdims=1))
        step = scope.add("Mul", idf, scope.add("Gather", scope.const(steps), again))
        rows = scope.add("Gather", weight, where)  # [N, L, k]
        summed = scope.add("MatMul", scope.add("Unsqueeze", step, const(1)), rows)  # [N, 1, k]
        share = scope.add(
            "Div", scope.const(np.float32(self.kind.scale)), scope.add("Max", length, scope.const(np.float32(1e-12)))
        )
        return scope.add("Mul", scope.add("Squeeze", summed, const(1)), share)

    @property
    def _seen_times(self) -> int:
        """Occurrences that are told apart, and one more: 2 where only presence counts."""
        return MOST_TIMES + 1 if self.values[-1] != self.values[1] else 2


def const0(scope: Scope) -> str:
    return scope.const(np.int64(0))


def fit_bag(x: np.ndarray, kind: Kind, sublinear: bool, idf: bool) -> tuple[Bag, csr_matrix] | None:
    """Choose the n-grams that stand in enough texts of x and weigh them; None when there are none."""
    blocks = tuple(b for b in x.blocks if b.view == kind.view) if isinstance(x, Tokens) else ()
    if not any(_n_ids(b, kind.orders) for b in blocks):
        return None
    blocks = tuple(b for b in blocks if _n_ids(b, kind.orders))
    counted = _counts(x, blocks, kind, BITS)
    different = int((np.bincount(counted.indices, minlength=1 << BITS) > 0).sum())
    bits = int(np.clip(np.ceil(np.log2(max(1, different))) + 2, LEAST_BITS, BITS))
    counted = lowered(counted, bits)
    found = np.bincount(counted.indices, minlength=1 << bits)
    least = min(kind.least_texts, max(1, len(x) // 200))
    kept = np.flatnonzero(found >= max(1, least))
    if len(kept) > MOST_FEATURES:
        kept = np.sort(kept[np.argsort(-found[kept], kind="stable")[:MOST_FEATURES]])
    if not len(kept):
        return None
    rows = np.zeros(1 << bits, np.int32)
    rows[kept] = np.arange(1, len(kept) + 1)
    weights = np.log((1 + len(x)) / (1 + found[kept])) + 1 if idf else np.ones(len(kept))
    times = np.arange(1, MOST_TIMES + 1)
    values = np.concatenate([[0.0], 1 + np.log(times) if sublinear else np.ones(MOST_TIMES)])
    bag = Bag(kind, blocks, bits, rows, np.append(0, weights).astype(np.float32), np.asarray(values, np.float32))
    return bag, bag._weighted(counted)


def _counts(x: np.ndarray, blocks: Sequence[Block], kind: Kind, bits: int) -> csr_matrix:
    """How often every id stands in every row, over all columns."""
    total = None
    for block in blocks:
        salt = _salt(block)
        if isinstance(x, Tokens) and x.origin is not None:
            encoded, rows = x.origin[block.column]
            found = encoded.counts(block.view, kind.orders, salt, BITS)[rows]
        else:
            found = counts(np.asarray(x)[:, block.start : block.end], kind.orders, salt, BITS)
        total = found if total is None else total + found
    return total if bits == BITS else lowered(total, bits)


def _salt(block: Block) -> int:
    """n-grams of different columns and views are different."""
    return (1 + block.column * 31 + (0 if block.view == "chars" else 17)) % PRIME


def _n_ids(block: Block, orders: Sequence[int]) -> int:
    return sum(max(0, block.end - block.start - n + 1) for n in orders)
