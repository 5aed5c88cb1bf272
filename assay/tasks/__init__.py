"""Kinds of problem, one file each; the file's name is the public task type and the file ends with `task = ...`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

    from assay.data.table import Table
    from assay.model.deliver import Built, Source
    from assay.model.manifest import Manifest
    from assay.spec import JobSpec, ProfileFacts, Resolved
    from assay.tasks._problem import Problem
    from assay.training.evaluate import Evaluation, Matrices, Request


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

    def warnings(self, table: Table, resolved: Resolved) -> list[dict[str, Any]]:
        """What the owner of the data should know of this task: `code`, `column` (or None) and `message` each."""
        ...

    def evaluate(self, matrices: Matrices, request: Request) -> Evaluation:
        """Train one configuration, judge it, and write its checkpoint.  Raises TrialError or TrialStopped."""
        ...

    def deliver(
        self,
        problem: Problem,
        sources: Sequence[Source],
        folder: Path,
        *,
        ensemble: bool,
        info: Mapping[str, Any],
        formats: Mapping[str, Mapping[str, Any]],
        seconds: float,
    ) -> Built:
        """From checkpoints to `model.onnx` and `model.zip` in the folder.  Raises AssayError."""
        ...

    def answers(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> list[dict[str, Any]]:
        """The graph's outputs, by public name, as the service answers rows: at least `value` for each."""
        ...

    def csv(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> Iterator[list[str]]:
        """Header and rows of a csv answer."""
        ...


@cache
def discover() -> Mapping[str, TaskType]:
    """All task types of this package by public name."""
    found: dict[str, TaskType] = {}
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            found[module.name] = importlib.import_module(f"{__name__}.{module.name}").task
    return dict(sorted(found.items()))
