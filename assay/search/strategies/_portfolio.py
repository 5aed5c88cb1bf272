"""The table of good starting configurations, fitted to the spaces at hand.

`assay/search/portfolio.json` is an ordered list of {"family", "config", "source"}; a config names only what differs from
the family's defaults.  An entry that does not fit the installed space (another name, a value out of range) is left out.
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
    """One starting configuration.  source: where it was published, or the idea behind it."""

    family: str
    config: Mapping[str, Value]
    source: str


@cache
def table() -> tuple[Entry, ...]:
    """The shipped portfolio, the most useful configurations first."""
    text = resources.files("assay.search").joinpath("portfolio.json").read_text(encoding="utf-8")
    return tuple(Entry(e["family"], e["config"], e["source"]) for e in json.loads(text))


def starts(spaces: Mapping[str, Space], entries: Sequence[Entry] | None = None) -> list[Proposal]:
    """The entries that fit the spaces, in their order.  entries: None for the shipped table."""
    found: list[Proposal] = []
    for entry in table() if entries is None else entries:
        space = spaces.get(entry.family)
        if space is None or not entry.config.keys() <= {d.name for d in space}:
            continue
        config = {**space.defaults(), **entry.config}
        if space.contains(config):
            found.append(Proposal(entry.family, space.complete(config), f"portfolio: {entry.source}"))
    return found
