"""Which columns made an answer: what changes when one of them is not known.

Occlusion after Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (ECCV 2014), over the columns
of a row: a contribution is the answer with the column less the answer with the column missing.  The delivered graph
itself is asked, so the explanation is of what is served.  Contributions of columns that stand in for each other are
small, and they need not add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from assay.data.table import Column, Table, Words
from assay.model.compose import decide

if TYPE_CHECKING:
    from assay.model.predict import Model


@dataclass(frozen=True)
class Explanation:
    """One row's answer.  output: the class whose probability is explained, or "value".  base: with nothing known."""

    value: str | float
    output: str
    base: float
    contributions: dict[str, float]


def explain(model: Model, table: Table) -> list[Explanation]:
    """Contributions of every column to the answer of every row.  Costs n * (columns + 1) + 1 predictions."""
    n, names = len(table), table.names
    if n == 0:
        return []
    known = model.numbers(table)
    occluded = [model.numbers(_without(table, name)) for name in names]  # each (n, k)
    nothing = table.take(np.array([0]))
    for name in names:
        nothing = _without(nothing, name)
    base = model.numbers(nothing)[0]
    classes = model.manifest.classes
    chosen = decide(known, model.manifest.threshold) if classes else np.zeros(n, dtype=np.int64)
    found = []
    for i, k in enumerate(chosen.tolist()):
        contributions = {name: float(known[i, k] - o[i, k]) for name, o in zip(names, occluded, strict=True)}
        value = classes[k] if classes else float(known[i, 0])
        found.append(Explanation(value, classes[k] if classes else "value", float(base[k]), contributions))
    return found


def _without(table: Table, name: str) -> Table:
    column = table.columns[name]
    empty: Column
    if isinstance(column, Words):
        empty = Words(np.full_like(column.codes, -1), column.levels)
    else:
        empty = np.full_like(column, np.nan)
    return Table({**table.columns, name: empty}, table.types)
