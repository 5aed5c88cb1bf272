"""Parquet and Arrow files to columns of strings, within limits that are looked at before and while decoding.

Values go through text like those of every other format, so that one set of rules decides on types; numbers keep theirs.
Text columns stay dictionary-encoded while they are read: a small file of one long repeated text stays small.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.data.delimited import Texts
from assay.data.layout import unique_names
from assay.data.loaded import DataWarning, Dialect, ReadLimits
from assay.errors import DataError

if TYPE_CHECKING:
    import polars as pl

BATCH = 65536  # rows decoded at a time


def read_parquet(path: Path, limits: ReadLimits, file: str) -> Texts:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as parquet:
            schema = parquet.schema_arrow
            _check_shape(len(schema), parquet.metadata.num_rows, limits, file)
            words = [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
        with pq.ParquetFile(path, read_dictionary=words) as parquet:
            table = _gather(
                parquet.iter_batches(batch_size=BATCH, use_threads=False), parquet.schema_arrow, limits, file
            )
    except (pa.ArrowException, OSError, ValueError) as e:
        raise DataError(f"{file}: the Parquet file is damaged or not supported ({_first_line(e)})", file=file) from e
    return texts_of(table, "parquet", limits, file)


def read_arrow(path: Path, limits: ReadLimits, file: str) -> Texts:
    """Arrow IPC files (Feather) and streams."""
    import pyarrow as pa
    import pyarrow.feather as feather

    try:
        with pa.memory_map(str(path)) as source:
            magic = source.read(6)
            source.seek(0)
            if magic[:4] == b"FEA1":
                table = feather.read_table(source)
            elif magic == b"ARROW1":
                reader = pa.ipc.open_file(source)
                batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
                table = _gather(batches, reader.schema, limits, file)
            else:
                stream = pa.ipc.open_stream(source)
                table = _gather(iter(stream), stream.schema, limits, file)
    except (pa.ArrowException, OSError, ValueError) as e:
        raise DataError(f"{file}: the Arrow file is damaged or not supported ({_first_line(e)})", file=file) from e
    return texts_of(table, "arrow", limits, file)


def _gather(batches: Iterator[Any], schema: Any, limits: ReadLimits, file: str) -> Any:
    import pyarrow as pa

    _check_shape(len(schema), 0, limits, file)
    kept, rows, size = [], 0, 0
    for batch in batches:
        rows += batch.num_rows
        size += batch.nbytes
        _check_shape(len(schema), rows, limits, file)
        if size > limits.max_bytes_unpacked:
            raise DataError(
                f"{file}: unpacks to more than {limits.max_bytes_unpacked} bytes, the most that is read",
                file=file,
                code="dataset_too_large",
            )
        kept.append(batch)
    return pa.Table.from_batches(kept, schema=kept[0].schema if kept else schema)


def _check_shape(n_columns: int, n_rows: int, limits: ReadLimits, file: str) -> None:
    for what, n, most in (("columns", n_columns, limits.max_columns), ("rows", n_rows, limits.max_rows)):
        if n > most:
            raise DataError(f"{file}: {n} {what}; at most {most} are read", file=file, code="dataset_too_large")
    # every cell costs at least four bytes once it is decoded, whatever it took in the file
    if 4 * n_columns * n_rows > limits.max_bytes_unpacked:
        raise DataError(
            f"{file}: {n_rows} rows of {n_columns} columns are more than is read at once",
            file=file,
            code="dataset_too_large",
        )


def texts_of(table: Any, format: str, limits: ReadLimits, file: str) -> Texts:
    """An Arrow table as columns of strings.  Nested columns are left out with a warning."""
    names, renamed = unique_names(str(n) for n in table.column_names)
    columns: dict[str, pl.Series] = {}
    warnings: list[DataWarning] = []
    for name, column in zip(names, table.columns, strict=True):
        text = _as_text(column, name, limits, file)
        if text is None:
            message = f"{name!r} holds {column.type}, not one value a row, and is left out"
            warnings.append(DataWarning("unsupported_column", name, message))
        else:
            columns[name] = text
    if len(columns) < limits.min_columns:
        raise DataError(f"{file}: {len(columns)} usable columns; at least {limits.min_columns} are needed", file=file)
    if table.num_rows == 0:
        raise DataError(f"{file}: there are columns but no rows", file=file)
    return Texts(columns, Dialect(format), (*warnings, *(w for w in renamed if w.column in columns)))


def _as_text(column: Any, name: str, limits: ReadLimits, file: str) -> pl.Series | None:
    import polars as pl
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    t = pa.types
    if t.is_dictionary(kind):
        _check_strings(column, limits, file, name)
        column = column.cast(kind.value_type)
        kind = kind.value_type
    if (
        t.is_string(kind)
        or t.is_large_string(kind)
        or t.is_string_view(kind)
        or t.is_boolean(kind)
        or t.is_integer(kind)
    ):
        text = column.cast(pa.large_string())
    elif t.is_floating(kind):
        # through polars: the shortest text that reads back as the same number
        floats = pl.Series("", column.cast(pa.float64()))
        return floats.fill_nan(None).cast(pl.String)
    elif t.is_decimal(kind):
        return pl.Series("", column.cast(pa.float64())).cast(pl.String)
    elif t.is_timestamp(kind):
        text = pc.strftime(column.cast(pa.timestamp("s"), safe=False), format="%Y-%m-%d %H:%M:%S").cast(
            pa.large_string()
        )
    elif t.is_date(kind):
        text = pc.strftime(column.cast(pa.date32()).cast(pa.timestamp("s")), format="%Y-%m-%d").cast(pa.large_string())
    elif t.is_time(kind):
        text = pc.utf8_slice_codeunits(column.cast(pa.string()), 0, 8).cast(pa.large_string())
    elif t.is_duration(kind):
        seconds = pc.divide(column.cast(pa.duration("us")).cast(pa.int64()).cast(pa.float64()), 1e6)
        return pl.Series("", seconds).cast(pl.String)
    elif t.is_null(kind):
        return pl.Series("", [None] * len(column), dtype=pl.String)
    else:
        return None
    return pl.Series("", text, dtype=pl.String)


def _check_strings(column: Any, limits: ReadLimits, file: str, name: str) -> None:
    """Refuse a dictionary whose texts, written out row by row, pass the limit: it is decoded only after this."""
    import pyarrow as pa
    import pyarrow.compute as pc

    total = 0
    if not (pa.types.is_string(column.type.value_type) or pa.types.is_large_string(column.type.value_type)):
        return
    for chunk in column.chunks:
        lengths = pc.binary_length(chunk.dictionary)
        total += pc.sum(lengths.take(chunk.indices)).as_py() or 0
    if total > limits.max_bytes_unpacked:
        raise DataError(
            f"{file}: column {name!r} unpacks to {total} bytes; at most {limits.max_bytes_unpacked} are read",
            file=file,
            column=name,
            code="dataset_too_large",
        )


def _first_line(e: BaseException) -> str:
    return (str(e).splitlines() or [type(e).__name__])[0][:200]
