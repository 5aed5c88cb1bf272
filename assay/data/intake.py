"""What a service keeps of an uploaded file: the typed table in one file, and everything to show of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.data.profile import profile, warnings_for
from assay.data.readers import read
from assay.data.table import ColumnType


def intake(
    path: Path, table_path: Path, *, name: str | None, format: str | None, overrides: Mapping[str, str]
) -> dict[str, Any]:
    """Read a file, write its table, and return rows, format, columns, profile, formats and warnings as JSON values.

    overrides: column -> type chosen by the user.  Raises DataError naming file, row and column.
    """
    loaded = read(path, name=name, format=format, overrides={c: ColumnType(t) for c, t in overrides.items()})
    found = profile(loaded.table)
    loaded.table.write(table_path)
    told = [w.to_json() for w in loaded.warnings]
    told += [w.to_json() for w in warnings_for(loaded.table, found, None, None) if w.to_json() not in told]
    return {
        "kind": loaded.kind,
        "rows": found.n_rows,
        "format": loaded.dialect.format,
        "columns": [
            {"name": c.name, "type": str(c.type), "missing": c.missing, "distinct": c.distinct, "example": c.example}
            for c in found.columns
        ],
        "profile": found.to_json(),
        "formats": {column: form.to_json() for column, form in loaded.formats.items()},
        "dialect": loaded.dialect.to_json(),
        "warnings": told,
    }
