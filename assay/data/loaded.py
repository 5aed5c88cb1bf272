"""What reading a file yields: the table, how its text was understood, and what the user should know about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from assay.data.table import Table

MB = 1 << 20


@dataclass(frozen=True)
class ReadLimits:
    """Sizes past which a file is refused.  They hold while reading, so that memory stays bounded."""

    max_bytes_unpacked: int = 4096 * MB  # of the text inside an archive, or of a column store once decoded
    max_ratio: float = 250.0  # unpacked bytes for one packed byte, looked at past the first 64 MiB
    max_columns: int = 20_000
    max_rows: int = 50_000_000
    max_line_bytes: int = 16 * MB  # one record, with all the line ends inside its quotes
    min_columns: int = 2  # a column to learn from and one to learn; 1 where rows to predict are read


@dataclass(frozen=True)
class DataWarning:
    """Something that was guessed, mended or is odd.  `code` is stable; `column` is None when it concerns the file."""

    code: str
    column: str | None
    message: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Dialect:
    """How the bytes of a text file became fields.  Empty for formats that carry their own structure."""

    format: str
    encoding: str = ""
    delimiter: str = ""
    quotes: bool = True  # False: quote characters were taken literally
    header: bool = True  # False: the first row is data, columns are named column_1, column_2, ...
    skipped_lines: int = 0  # before the header
    skip_initial_space: bool = False
    member: str = ""  # name inside an archive, or of the sheet in a workbook

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class ColumnFormat:
    """How one column's text is written, so that later text is read the same way.

    decimal, thousands: the characters, thousands "" when there is none.  percent: values end in a percent sign, which
    is dropped (12% is 12).  currency: the sign or code found, dropped as well.  dates: name of a form in `dateforms`.
    true, false: the file's own words.  missing: the texts that were read as missing, besides the empty one.
    """

    decimal: str = "."
    thousands: str = ""
    percent: bool = False
    currency: str = ""
    dates: str = ""
    true: str = ""
    false: str = ""
    missing: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Only what differs from the default."""
        plain = asdict(ColumnFormat())
        return {k: list(v) if k == "missing" else v for k, v in asdict(self).items() if v != plain[k]}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> ColumnFormat:
        values: dict[str, Any] = {k: tuple(v) if k == "missing" else v for k, v in data.items()}
        return ColumnFormat(**values)


@dataclass(frozen=True, eq=False)
class Loaded:
    """A file as a table.  kind: what is told of it: "table", "images", "text", "series" or "detection"."""

    table: Table
    formats: Mapping[str, ColumnFormat]
    warnings: tuple[DataWarning, ...] = ()
    dialect: Dialect = field(default_factory=lambda: Dialect("memory"))
    kind: str = "table"
