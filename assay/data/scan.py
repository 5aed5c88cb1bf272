"""The structure of delimited text at memory speed: records, ragged rows, stray and open quotes, without parsing a field.

One pass over the mapped file in chunks; memory is a few times the chunk.  The parser proper runs only on text that this
scan found clean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from assay.data.loaded import ReadLimits
from assay.data.textfile import line_too_long
from assay.errors import DataError

CHUNK = 4 << 20
QUOTE, NEWLINE, RETURN = 34, 10, 13


@dataclass
class Structure:
    """What was counted.  Rows count from 1; a first row of 0 means there was none.  Blank lines are not rows."""

    rows: int = 0
    blank: int = 0
    trailing_blank: int = 0  # of the blank lines, those after the last row
    short: int = 0
    first_short: int = 0
    long: int = 0
    first_long: int = 0
    stray_quotes: int = 0
    open_quote_row: int = 0

    @property
    def ragged(self) -> int:
        return self.short + self.long


def scan(
    path: Path, offset: int, delimiter: str, width: int, limits: ReadLimits, file: str, *, quotes: bool
) -> Structure:
    """Count the records from byte `offset` on against the expected number of fields.

    A record past `limits.max_line_bytes`, or more rows than `limits.max_rows`, raises DataError at once.
    """
    found = Structure()
    if path.stat().st_size <= offset:
        return found
    data = np.memmap(path, dtype=np.uint8, mode="r")
    for ends, fields, starts in _records(data, offset, ord(delimiter), limits, file, found, quotes):
        _count(data, ends, fields, starts, width, ord(delimiter), limits, file, found)
    return found


def _records(
    data: np.ndarray, offset: int, delimiter: int, limits: ReadLimits, file: str, found: Structure, quotes: bool
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Per chunk: where records end (position of their newline), how many fields each has, where each starts."""
    inside, pending, start, size = 0, 0, offset, len(data)
    for begin in range(offset, size, CHUNK):
        part = data[begin : begin + CHUNK]
        newlines, delimiters = part == NEWLINE, part == delimiter
        if quotes:
            marks = part == QUOTE
            if inside or marks.any():
                within = (np.cumsum(marks, dtype=np.uint8) + np.uint8(inside)) & np.uint8(1)
                found.stray_quotes += _stray(data, begin, np.flatnonzero(marks), within, delimiter)
                newlines &= within == 0
                delimiters &= within == 0
                inside = int(within[-1])
        at = np.flatnonzero(newlines)
        seps = np.flatnonzero(delimiters)
        before = np.searchsorted(seps, at)
        counts = np.diff(before, prepend=0)
        if len(at):
            counts[0] += pending
            pending = len(seps) - int(before[-1])
            ends = at + begin
            starts = np.concatenate([[start], ends[:-1] + 1])
            start = int(ends[-1]) + 1
            yield ends, counts + 1, starts
        else:
            pending += len(seps)
        if begin + len(part) - start > limits.max_line_bytes:
            raise line_too_long(file, found.rows + 1, limits)
    if start < size:
        yield np.array([size]), np.array([pending + 1]), np.array([start])
    if inside:
        found.open_quote_row = max(found.rows, 1)


def _stray(data: np.ndarray, begin: int, at: np.ndarray, within: np.ndarray, delimiter: int) -> int:
    """Quotes that open in the middle of a field or close before its end."""
    position = at + begin
    opening = within[at] == 1
    before = data[np.maximum(position - 1, 0)]
    after = data[np.minimum(position + 1, len(data) - 1)]
    neighbour = np.where(opening, before, after)
    fine = (neighbour == delimiter) | (neighbour == NEWLINE) | (neighbour == QUOTE)
    fine |= ~opening & (neighbour == RETURN)
    fine |= (opening & (position == 0)) | (~opening & (position == len(data) - 1))
    return int((~fine).sum())


def _count(
    data: np.ndarray, ends: np.ndarray, fields: np.ndarray, starts: np.ndarray, width: int, delimiter: int,
    limits: ReadLimits, file: str, found: Structure,
) -> None:  # fmt: skip
    lengths = ends - starts
    if lengths.max() > limits.max_line_bytes:
        raise line_too_long(file, found.rows + 1 + int(lengths.argmax()), limits)
    last = data[np.maximum(ends - 1, 0)]
    blank = (lengths == 0) | ((lengths == 1) & (last == RETURN))
    numbers = found.rows + np.cumsum(~blank)  # row number of each record
    if blank.all():
        found.trailing_blank += len(blank)
    elif blank.any():
        found.trailing_blank = int(blank[::-1].argmin())
    else:
        found.trailing_blank = 0
    found.blank += int(blank.sum())
    found.rows = int(numbers[-1]) if len(numbers) else found.rows
    if found.rows > limits.max_rows:
        raise DataError(
            f"{file}: more than {limits.max_rows} rows, the most that is read", file=file, code="dataset_too_large"
        )
    short = (fields < width) & ~blank
    tail = data[np.maximum(np.where(last == RETURN, ends - 2, ends - 1), 0)]
    long = (fields > width) & ~((fields == width + 1) & (tail == delimiter)) & ~blank
    for name, mask in (("short", short), ("long", long)):
        if mask.any():
            if not getattr(found, f"first_{name}"):
                setattr(found, f"first_{name}", int(numbers[mask.argmax()]))
            setattr(found, name, getattr(found, name) + int(mask.sum()))
