"""The table of good starting configurations, fitted to the spaces at hand.

`assay/search/portfolio.json` is an ordered list of {"family", "config", "source"} and sometimes "rows" and "columns"; a config
names only what differs from the family's defaults.  An entry that does not fit the installed space (another name, a value out of range)
is left out, and so is one meant for other sizes of data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from assay.search.trial import Proposal
from assay.space import Space, Value

Range = tuple[int | None, int | None]  # (least, most), both of them in it; None for no end
ANY: Range = (None, None)


@dataclass(frozen=True)
class Entry:
    """One starting configuration.

    source: where it was published, or the idea behind it.  rows, columns: of the data it is meant for.
    """

    family: str
    config: Mapping[str, Value]
    source: str
    rows: Range = ANY
    columns: Range = ANY

    def suits(self, n_rows: int, n_columns: int) -> bool:
        """Whether data of that size are what it is meant for."""
        return _within(n_rows, self.rows) and _within(n_columns, self.columns)

    def to_json(self) -> dict[str, Any]:
        """As it stands in the table."""
        sizes = {"rows": self.rows, "columns": self.columns}
        limited = {name: list(size) for name, size in sizes.items() if size != ANY}
        return {"family": self.family, "config": dict(self.config), "source": self.source} | limited


def _within(n: int, size: Range) -> bool:
    least, most = size
    return (least is None or n >= least) and (most is None or n <= most)


@cache
def table() -> tuple[Entry, ...]:
    """The shipped portfolio, the most useful configurations first."""
    text = resources.files("assay.search").joinpath("portfolio.json").read_text(encoding="utf-8")
    entries = json.loads(text)
    return tuple(
        Entry(e["family"], e["config"], e["source"], tuple(e.get("rows", ANY)), tuple(e.get("columns", ANY)))
        for e in entries
    )


def starts(
    spaces: Mapping[str, Space], n_rows: int, n_columns: int, entries: Sequence[Entry] | None = None
) -> list[Proposal]:
    """The entries that fit the spaces and the data, in their order.  entries: None for the shipped table."""
    found: list[Proposal] = []
    for entry in table() if entries is None else entries:
        space = spaces.get(entry.family)
        if space is None or not entry.suits(n_rows, n_columns) or not entry.config.keys() <= {d.name for d in space}:
            continue
        config = {**space.defaults(), **entry.config}
        if space.contains(config):
            found.append(Proposal(entry.family, space.complete(config), f"portfolio: {entry.source}"))
    return found
