"""The text of a column's values, as the file has them: what a class is called."""

from __future__ import annotations

import numpy as np

from assay.data.table import Table, Words


def labels(table: Table, name: str) -> Words:
    """Any column as words: whole numbers without a decimal point, words exactly as they stand in the file."""
    column = table.columns[name]
    if isinstance(column, Words):
        return column
    values, inverse = np.unique(table.numbers(name), return_inverse=True)  # NaN comes last, once
    known = ~np.isnan(values)
    texts = [number_text(float(v)) for v in values[known]]
    codes = np.where(known[inverse], inverse, -1).astype(np.int32)
    return Words(codes, np.array(texts, dtype=object).reshape(len(texts)))


def number_text(value: float) -> str:
    """1.0 is "1", 0.5 is "0.5": the shortest text that reads back the same."""
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
