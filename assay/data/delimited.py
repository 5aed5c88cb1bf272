"""Delimited text to columns of strings: a memory-speed scan decides whether polars may read it or it is mended first."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assay.data.layout import Layout, layout_of
from assay.data.loaded import DataWarning, Dialect, ReadLimits
from assay.data.scan import Structure, scan
from assay.data.textfile import CleanText, line_too_long
from assay.errors import DataError

if TYPE_CHECKING:
    import polars as pl

HEAD = 256 << 10
RAGGED = 0.1  # share of rows of the wrong width past which the file is refused; one row is always mended
_END = "\x1fend\x1f"


@dataclass(frozen=True, eq=False)
class Texts:
    """A table before its types are known: columns of strings in file order, null for missing."""

    columns: dict[str, pl.Series]
    dialect: Dialect
    warnings: tuple[DataWarning, ...] = ()


def read_delimited(
    clean: CleanText,
    workdir: Path,
    limits: ReadLimits,
    file: str,
    *,
    known: Sequence[str] = (),
    delimiter: str | None = None,
) -> Texts:
    """All columns as strings.  Rows that are too short are padded, too long ones cut, both counted; see RAGGED."""
    layout = layout_of(
        _head(clean.path, limits, file), file, known=known, delimiter=delimiter, max_columns=limits.max_columns
    )
    width = len(layout.names)
    if width < limits.min_columns:
        raise DataError(
            f"{file}: only one column ({layout.names[0][:80]!r}) was found; expected at least two, separated by a comma, "
            f"semicolon, tab or |",
            file=file,
            column=layout.names[0],
        )
    path, offset, structure, quotes, separator, said = _mend(clean.path, layout, width, workdir, limits, file)
    if structure.rows == 0:
        raise DataError(f"{file}: there is a header but no row below it", file=file)
    inner_blanks = structure.blank - structure.trailing_blank if width == 1 else 0
    columns = _parse(path, offset, separator, width, structure.rows + inner_blanks, file)
    if layout.skip_initial_space:
        columns = [c.str.strip_chars_start(" ") for c in columns]
    kept = {}
    blank_names = {w.column for w in layout.warnings if w.code == "renamed_column" and "no name" in w.message}
    warnings = [*clean.warnings, *said]
    for name, column in zip(layout.names, columns, strict=True):
        if name in blank_names and column.null_count() == len(column) and width > 1:
            warnings.append(
                DataWarning("empty_column", None, f"{name!r} has neither a name nor a value and is left out")
            )
        else:
            kept[name] = column
    if len(kept) < limits.min_columns:
        raise DataError(f"{file}: {len(kept)} columns with values; expected at least {limits.min_columns}", file=file)
    warnings += [w for w in layout.warnings if w.column is None or w.column in kept]
    dialect = Dialect(
        "tsv" if layout.delimiter == "\t" else "csv",
        clean.encoding,
        layout.delimiter,
        quotes,
        layout.has_header,
        layout.skipped_lines,
        layout.skip_initial_space,
    )
    return Texts(kept, dialect, tuple(warnings))


def _head(path: Path, limits: ReadLimits, file: str) -> str:
    with path.open("rb") as f:
        head = f.read(HEAD)
        if len(head) == HEAD:
            while b"\n" not in head[1:]:
                more = f.read(HEAD)
                if not more:
                    break
                head += more
                if len(head) > limits.max_line_bytes + HEAD:
                    raise line_too_long(file, 1, limits)
            if f.read(1):
                head = head[: head.rindex(b"\n") + 1] if b"\n" in head else head
    return head.decode("utf-8", errors="ignore")


def _mend(
    path: Path, layout: Layout, width: int, workdir: Path, limits: ReadLimits, file: str
) -> tuple[Path, int, Structure, bool, str, list[DataWarning]]:
    """Text that polars reads without a surprise: (path, offset, structure, quotes, delimiter, warnings)."""
    seen = scan(path, layout.offset, layout.delimiter, width, limits, file, quotes=True)
    broken = bool(seen.stray_quotes or seen.open_quote_row)
    inner_blanks = seen.blank - seen.trailing_blank if width > 1 else 0
    if not broken and not seen.ragged and not inner_blanks and layout.delimiter != " ":
        return path, layout.offset, seen, True, layout.delimiter, []
    quotes, said = True, []
    target = workdir / "mended.csv"
    if broken and _escapes(path, layout.offset):
        mended = _rewrite(path, target, layout, width, limits, file, quotes=True, escapes=True)
        if mended is not None and not mended.ragged:
            return target, 0, mended, True, ",", []
    mended = _rewrite(path, target, layout, width, limits, file, quotes=True)
    if broken and (mended is None or mended.ragged):
        literal = scan(path, layout.offset, layout.delimiter, width, limits, file, quotes=False)
        if literal.ragged <= min(RAGGED * literal.rows, mended.ragged if mended else literal.rows):
            mended = _rewrite(path, target, layout, width, limits, file, quotes=False)
            said.append(
                DataWarning(
                    "quotes_ignored", None, f"{file}: quotes are not balanced; they are taken as plain characters"
                )
            )
            quotes = False
    if mended is None:
        row = max(seen.open_quote_row, 1)
        raise DataError(f"{file}: a quote that opens near row {row} is never closed", file=file, row=row)
    said += _ragged(mended, width, layout, file)
    return target, 0, mended, quotes, ",", said


def _ragged(seen: Structure, width: int, layout: Layout, file: str) -> list[DataWarning]:
    if seen.ragged > max(1, RAGGED * seen.rows):
        row = min(r for r in (seen.first_short, seen.first_long) if r)
        kind = "more" if row == seen.first_long else "fewer"
        raise DataError(
            f"{file}: {seen.ragged} of {seen.rows} rows do not have {width} fields (row {row} has {kind}); "
            f"the delimiter was taken to be {layout.delimiter!r}. Quote fields that hold it",
            file=file,
            row=row,
        )
    said = []
    if seen.short:
        said.append(
            DataWarning(
                "short_rows", None, f"{seen.short} rows have fewer than {width} fields, the first is row {seen.first_short}; "
                f"the fields at their end are missing"
            )
        )  # fmt: skip
    if seen.long:
        said.append(
            DataWarning(
                "long_rows", None, f"{seen.long} rows have more than {width} fields, the first is row {seen.first_long}; "
                f"what is past them is left out"
            )
        )  # fmt: skip
    return said


def _escapes(path: Path, offset: int) -> bool:
    r"""Whether quotes inside of quotes are written as \\", as MySQL does, and not doubled."""
    with path.open("rb") as raw:
        raw.seek(offset)
        return b'\\"' in raw.read(HEAD)


def _rewrite(
    path: Path,
    target: Path,
    layout: Layout,
    width: int,
    limits: ReadLimits,
    file: str,
    *,
    quotes: bool,
    escapes: bool = False,
) -> Structure | None:
    """The rows as well-formed CSV of exactly `width` fields.  None: a quote was opened and never closed."""
    seen = Structure()
    quoting = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
    before = csv.field_size_limit(limits.max_line_bytes)
    try:
        with path.open("rb") as raw, target.open("w", encoding="utf-8", newline="") as out:
            raw.seek(layout.offset)
            lines = _lines(raw)
            reader = csv.reader(
                lines,
                delimiter=layout.delimiter,
                quoting=quoting,  # type: ignore[arg-type]
                escapechar="\\" if escapes else None,
                skipinitialspace=layout.skip_initial_space or layout.delimiter == " ",
            )
            write = csv.writer(out, lineterminator="\n").writerow
            row: list[str] = []
            pending = 0
            for row in reader:
                if row == [_END]:
                    break
                if layout.delimiter == " " and len(row) > width and row[-1] == "":
                    row.pop()
                if not row or (len(row) == 1 and not row[0].strip()):
                    seen.blank += 1
                    pending += 1
                    continue
                if width == 1:  # a blank line between values of the only column is a missing value
                    for _ in range(pending):
                        write([""])
                pending = 0
                seen.rows += 1
                if len(row) != width:
                    _fit(row, width, seen)
                write(row)
            seen.trailing_blank = pending
            return seen if row == [_END] else None
    except csv.Error:
        return None
    finally:
        csv.field_size_limit(before)


def _lines(raw: Iterator[bytes]) -> Iterator[str]:
    for line in raw:
        text = line.decode("utf-8", errors="replace")
        yield text if text.endswith("\n") else text + "\n"  # the last line need not end
    yield _END


def _fit(row: list[str], width: int, seen: Structure) -> None:
    """Pad or cut a row in place, and count it unless only empty fields are cut."""
    if len(row) < width:
        seen.short += 1
        seen.first_short = seen.first_short or seen.rows
        row += [""] * (width - len(row))
        return
    if any(cell.strip() for cell in row[width:]):
        seen.long += 1
        seen.first_long = seen.first_long or seen.rows
    del row[width:]


def _parse(path: Path, offset: int, delimiter: str, width: int, n: int, file: str) -> list[pl.Series]:
    import polars as pl

    with path.open("rb") as f:
        skip = f.read(offset).count(b"\n")
    try:
        frame = pl.read_csv(
            path,
            has_header=False,
            schema={f"c{i}": pl.String for i in range(width)},
            separator=delimiter,
            skip_lines=skip,
            truncate_ragged_lines=True,
            infer_schema=False,
        )
    except pl.exceptions.PolarsError as e:
        raise DataError(f"{file}: cannot be read as a table ({str(e).splitlines()[0][:200]})", file=file) from e
    if len(frame) < n:
        raise DataError(f"{file}: {n} rows were counted but {len(frame)} read; a quote is out of place", file=file)
    return frame.head(n).rechunk().get_columns()
