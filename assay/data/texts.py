"""Texts on their way into training: a column that knows its front, and the matrix of token numbers made of it.

Every distinct text is encoded once in a process, and its n-grams are counted once, however many folds and trials ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.data.front_text import TextFront
from assay.data.ngrams import counts
from assay.data.table import Table, Words
from assay.errors import DataError
from assay.model.graph import Graph, Scope

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from assay.families import Target

VIEWS = ("chars", "words", "pieces", "encoder")


class Encoded:
    """The distinct texts of a column as token numbers, with what was counted of them.  The last row is "missing"."""

    def __init__(self, front: TextFront, levels: np.ndarray) -> None:
        self.front = front
        self._levels = levels
        self.memory: dict[str, dict[int, np.ndarray]] = {}  # vectors by kind and row, for who computes them dearly
        self._counts: dict[tuple[str, tuple[int, ...], int, int], csr_matrix] = {}

    @cached_property
    def matrix(self) -> np.ndarray:
        return self.front.rows([*map(str, self._levels), ""])

    def view(self, name: str) -> np.ndarray:
        start, end = self.front.span(name)
        return self.matrix[:, start:end]

    def counts(self, view: str, orders: tuple[int, ...], salt: int, bits: int) -> csr_matrix:
        key = (view, orders, salt, bits)
        if key not in self._counts:
            while len(self._counts) >= 6:
                self._counts.pop(next(iter(self._counts)))
            self._counts[key] = counts(self.view(view), orders, salt, bits)
        return self._counts[key]


@dataclass(frozen=True, eq=False)
class TextColumn(Words):
    """Words with the front that reads them."""

    encoded: Encoded

    def take(self, rows: np.ndarray) -> TextColumn:
        return TextColumn(self.codes[rows], self.levels, self.encoded)

    @staticmethod
    def over(words: Words, front: TextFront) -> TextColumn:
        return TextColumn(words.codes, words.levels, Encoded(front, words.levels))


@dataclass(frozen=True)
class Block:
    """One view of one column in the matrix: columns start to end.  column: position of the raw column."""

    column: int
    view: str
    start: int
    end: int


class Tokens(np.ndarray):
    """int32 (n, width) token numbers that know their blocks; selections of rows know them too.

    origin: for every raw column what its rows were taken from, and which ones; None for rows that came otherwise.
    """

    blocks: tuple[Block, ...]
    origin: tuple[tuple[Encoded, np.ndarray], ...] | None

    def __array_finalize__(self, other: Any) -> None:
        self.blocks = getattr(other, "blocks", ())
        self.origin = None


def tokens(matrix: np.ndarray, blocks: Sequence[Block], origin: Sequence[tuple[Encoded, np.ndarray]]) -> Tokens:
    found = np.ascontiguousarray(matrix, np.int32).view(Tokens)
    found.blocks, found.origin = tuple(blocks), tuple(origin)
    return found


@dataclass(frozen=True)
class TextRecipe:
    """The wish for some views of every column, side by side."""

    views: tuple[str, ...]

    def fit(
        self, table: Table, y: np.ndarray, target: Target, seed: int, weight: np.ndarray | None = None
    ) -> tuple[TextPreparation, np.ndarray]:
        """Nothing is fitted here: the fronts are the job's.  Raises DataError for columns without one."""
        columns = {name: column for name, column in table.columns.items() if isinstance(column, TextColumn)}
        if not columns:
            raise DataError("no column has a text front; use task.type text_classification or text_regression")
        blocks: list[Block] = []
        width = 0
        for i, column in enumerate(columns.values()):
            for view in self.views:
                start, end = column.encoded.front.span(view)
                if end > start:
                    blocks.append(Block(i, view, width, width + end - start))
                    width += end - start
        preparation = TextPreparation(tuple(columns), tuple(c.encoded.front for c in columns.values()), tuple(blocks))
        return preparation, preparation.transform(table)


@dataclass(frozen=True, eq=False)
class TextPreparation:
    """The chosen views of the columns, by NumPy and as nodes."""

    columns: tuple[str, ...]
    fronts: tuple[TextFront, ...]
    blocks: tuple[Block, ...]

    @property
    def groups(self) -> np.ndarray | None:
        return None

    def transform(self, table: Table) -> np.ndarray:
        """int32 (n, width), a `Tokens`."""
        origin: list[tuple[Encoded, np.ndarray]] = []
        for name, front in zip(self.columns, self.fronts, strict=True):
            column = table.words(name)
            read = column if isinstance(column, TextColumn) else TextColumn.over(column, front)
            origin.append((read.encoded, np.where(read.codes < 0, len(read.levels), read.codes)))
        parts = [origin[b.column][0].view(b.view)[origin[b.column][1]] for b in self.blocks]
        matrix = np.concatenate(parts, axis=1) if parts else np.zeros((len(table), 0), np.int32)
        return tokens(matrix, self.blocks, origin)

    def to_onnx(self, inputs: Mapping[str, str]) -> Graph:
        """inputs: int32 [N, width of the front] of each column -> int32 [N, width]."""
        scope = Scope()

        def const(v: int) -> str:
            return scope.const(np.array([v], np.int64))

        parts = []
        for block in self.blocks:
            start, end = self.fronts[block.column].span(block.view)
            parts.append(scope.add("Slice", inputs[self.columns[block.column]], const(start), const(end), const(1)))
        if len(parts) == 1:
            return scope.graph(parts[0])
        return scope.graph(scope.add("Concat", *parts, axis=1))
