"""The table of good starting configurations, fitted to the spaces at hand.

`assay/search/portfolio.json` is an ordered list of {"family", "config", "source"} and sometimes "rows"; a config names only
what differs from the family's defaults.  An entry that does not fit the installed space (another name, a value out of range)
is left out, and so is one meant for other sizes of data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from assay.search.trial import Proposal
from assay.space import Space, Value


@dataclass(frozen=True)
class Entry:
    """One starting configuration.

    source: where it was published, or the idea behind it.  rows: (least, most) of the data it is meant for, None for no end.
    """

    family: str
    config: Mapping[str, Value]
    source: str
    rows: tuple[int | None, int | None] = (None, None)

    def suits(self, n_rows: int) -> bool:
        """Whether data of so many rows are what it is meant for."""
        least, most = self.rows
        return (least is None or n_rows >= least) and (most is None or n_rows <= most)


@cache
def table() -> tuple[Entry, ...]:
    """The shipped portfolio, the most useful configurations first."""
    text = resources.files("assay.search").joinpath("portfolio.json").read_text(encoding="utf-8")
    entries = json.loads(text)
    return tuple(Entry(e["family"], e["config"], e["source"], tuple(e.get("rows", (None, None)))) for e in entries)


def starts(spaces: Mapping[str, Space], n_rows: int, entries: Sequence[Entry] | None = None) -> list[Proposal]:
    """The entries that fit the spaces, in their order.  entries: None for the shipped table."""
    found: list[Proposal] = []
    for entry in table() if entries is None else entries:
        space = spaces.get(entry.family)
        if space is None or not entry.suits(n_rows) or not entry.config.keys() <= {d.name for d in space}:
            continue
        config = {**space.defaults(), **entry.config}
        if space.contains(config):
            found.append(Proposal(entry.family, space.complete(config), f"portfolio: {entry.source}"))
    return found
