"""Search strategies, one file each; the file's name is the public name and the file ends with `strategy = ...`.

A strategy remembers nothing.  `propose` and `judge` are functions of the history, so any worker may ask, a crash loses
nothing, and the library and the service run the same code.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Protocol, runtime_checkable

import numpy as np

from assay.search.trial import History, Proposal, Report, Trial, Verdict
from assay.space import Space


@runtime_checkable
class SearchStrategy(Protocol):
    """Proposes configurations and judges reports, from the history alone."""

    def propose(
        self, history: History, spaces: Mapping[str, Space], rng: np.random.Generator, n: int
    ) -> list[Proposal]:
        """Up to n configurations to try next, different from each other and from the trials still open.

        spaces: family name -> its space.  rng: `default_rng([job seed, next trial number])`, so the same history gives
        the same answer.  An empty list means that nothing is left to try (a finite space is exhausted).
        """
        ...

    def judge(self, history: History, trial: Trial, report: Report) -> Verdict:
        """Whether the running `trial` is worth going on with after `report` (already part of its curve or not)."""
        ...


@cache
def discover() -> Mapping[str, SearchStrategy]:
    """All strategies of this package by public name, in alphabetical order."""
    found: dict[str, SearchStrategy] = {}
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            found[module.name] = importlib.import_module(f"{__name__}.{module.name}").strategy
    return found
