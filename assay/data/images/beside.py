"""Tables that lie beside pictures: a csv whose rows name pictures tells their classes, splits and side information.

The column that names them is the one whose values are file names of the archive (with or without folders and ending);
what else it holds becomes columns of the dataset, typed as in any table.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from assay.data.images.layout import Layout, split_named
from assay.data.images.members import MAX_NOTE_BYTES, Members
from assay.data.images.notes import Notes
from assay.data.loaded import ColumnFormat, ReadLimits
from assay.data.table import Column, ColumnType, Table, Words
from assay.errors import DataError

LEAST = 0.5  # share of the rows of a csv that must name a picture of the archive
RESERVED = ("image", "path", "boxes", "mask", "mask_classes")  # columns that the pictures themselves fill
LABEL, SPLIT = "label", "split"


@dataclass(frozen=True, eq=False)
class Beside:
    """table: one row for every row of a csv; row: by picture; formats: of its columns."""

    table: Table
    row: Mapping[str, int]
    formats: Mapping[str, ColumnFormat] = field(default_factory=dict)

    def columns(self, names: Sequence[str]) -> dict[str, tuple[Column, ColumnType]]:
        """The columns for these pictures, in order; missing where a picture is not named."""
        rows = np.array([self.row.get(n, -1) for n in names], np.int64)
        found: dict[str, tuple[Column, ColumnType]] = {}
        for name, column in self.table.columns.items():
            if isinstance(column, Words):
                codes = np.where(rows < 0, -1, column.codes[rows])
                made: Column = Words(codes.astype(column.codes.dtype), column.levels)
            else:
                values = self.table.numbers(name)
                made = np.where(rows < 0, np.nan, values[rows])
            found[name] = made, self.table.types[name]
        return found


def read_beside(layout: Layout, members: Members, limits: ReadLimits, notes: Notes) -> Beside | None:
    """The first csv of the archive that names its pictures; None if there is none.  Others are noted as ignored."""
    found: Beside | None = None
    for name in layout.tables:
        made = None if found is not None else _read(name, layout, members, limits, notes)
        if made is None:
            notes.add("ignored_file", name)
        found = found or made
    return found


def _read(name: str, layout: Layout, members: Members, limits: ReadLimits, notes: Notes) -> Beside | None:
    from assay.data.delimited import read_delimited
    from assay.data.infer import infer_table
    from assay.data.textfile import clean_text

    file = f"{members.file}: {name}"
    with tempfile.TemporaryDirectory(prefix="assay-beside-") as made:
        source = Path(made) / "table"
        source.write_bytes(members.read(name, MAX_NOTE_BYTES))
        try:
            clean = clean_text(source, Path(made), limits, file)
            texts = read_delimited(clean, Path(made), limits, file)
        except DataError:
            return None
    place = _places(layout.pictures)
    best = ""
    rows: dict[str, int] = {}
    for column, values in texts.columns.items():
        named = _named(values.to_list(), place)
        if len(named) > len(rows):
            best, rows = column, named
    n = len(next(iter(texts.columns.values())))
    if len(rows) < LEAST * min(n, len(layout.pictures)) or not rows:
        return None
    if len(rows) < n:
        notes.add("missing_image", name, f"{n - len(rows)} rows")
    kept = {_public(c): v for c, v in texts.columns.items() if c != best and c.lower() not in RESERVED}
    table, formats, _ = infer_table(kept)
    return Beside(table, rows, formats)


def _public(column: str) -> str:
    """`label` and `split` are known by these names whatever their letter case."""
    return column.lower() if column.lower() in (LABEL, SPLIT) else column


def _places(pictures: Sequence[str]) -> dict[str, str]:
    """Pictures by their full name, their file's name, and both without the ending, as far as these are unique."""
    found: dict[str, str] = {}
    doubled: set[str] = set()
    for name in pictures:
        path = PurePosixPath(name)
        for key in {name, path.name, str(path.with_suffix("")), path.stem}:
            if key in found:
                doubled.add(key)
            found[key] = name
    return {key: name for key, name in found.items() if key not in doubled}


def _named(values: Sequence[str | None], place: Mapping[str, str]) -> dict[str, int]:
    """The row of every picture that a column's values name; the first one where several do."""
    found: dict[str, int] = {}
    for i, value in enumerate(values):
        text = "" if value is None else str(value).strip().replace("\\", "/").removeprefix("./")
        path = PurePosixPath(text)
        for key in (text, path.name, path.stem):
            if key and key in place:
                found.setdefault(place[key], i)
                break
    return found


def splits_of(column: Column) -> list[str | None]:
    """train, val or test, where the words of a column say so."""
    if not isinstance(column, Words):
        return []
    return [None if w is None else split_named(str(w)) for w in column.values()]
