"""The first rows of a dataset as they were read."""

from __future__ import annotations

import base64
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from app.answers import finite
from app.storage import Storage

THUMBNAIL = 96  # longer side of a shown picture


def preview(storage: Storage, row: Any, n: int) -> dict[str, Any]:
    """Columns, types and up to n rows of the typed table; missing values are None, pictures small data: URLs."""
    from assay.data.table import Blobs, Table, Words

    with tempfile.TemporaryDirectory(prefix="assay-preview-") as folder:
        path = Path(folder) / "table"
        storage.write_to(row.table_blob, path)
        table = Table.read(path)
        total = len(table)
        head = table.take(np.arange(min(n, total)))
        columns: list[list[Any]] = []
        for name in head.names:
            column = head.columns[name]
            whole = str(head.types[name]) == "integer"
            if isinstance(column, Words):
                columns.append([v or None for v in column.values().tolist()])
            elif isinstance(column, Blobs):
                columns.append([_thumbnail(data) for data in column])
            else:
                columns.append([_number(v, whole) for v in column.tolist()])
    return {
        "columns": list(head.names),
        "types": {name: str(head.types[name]) for name in head.names},
        "rows": [list(values) for values in zip(*columns, strict=True)],
        "total_rows": total,
    }


def _thumbnail(data: bytes | None) -> str | None:
    """A picture as a small data: URL."""
    from assay.data.pixels import TooLarge, Unreadable, rgb

    if data is None:
        return None
    try:
        image = rgb(data, THUMBNAIL)
    except (Unreadable, TooLarge):
        return None
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def _number(value: float, whole: bool) -> float | int | None:
    known = finite(value)
    return int(known) if whole and known is not None else known
