"""Kinds of problem, one file each; the file's name is the public task type and the file ends with `task = ...`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from assay.data.table import Table
    from assay.spec import JobSpec, ProfileFacts, Resolved
    from assay.tasks._problem import Problem


@runtime_checkable
class TaskType(Protocol):
    """How one kind of problem is read, split, judged and answered."""

    name: str
    about: str
    kinds: tuple[str, ...]  # kinds of target it resolves to; metrics are listed by kind

    def resolve(self, spec: JobSpec, profile: ProfileFacts) -> Resolved:
        """Decide every `auto` and check names against the data.  Raises SpecError."""
        ...

    def default_metric(self, kind: str) -> str: ...

    def prepare(self, table: Table, resolved: Resolved) -> Problem:
        """The rows, targets and folds of a job.  Raises DataError.  Same input, same problem."""
        ...


@cache
def discover() -> Mapping[str, TaskType]:
    """All task types of this package by public name."""
    found: dict[str, TaskType] = {}
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            found[module.name] = importlib.import_module(f"{__name__}.{module.name}").task
    return dict(sorted(found.items()))
