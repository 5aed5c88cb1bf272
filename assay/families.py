"""What a model family is, and how families are found.

A family is one file in `search_spaces/<kind>/` that ends with `family = ...`: its space, how it is built, how it is
fitted, its reference.  It knows nothing of jobs, rows, databases or processes.  Heavy libraries are imported inside its
functions, so that listing families is instant.
"""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from assay.data.table import Table
from assay.model.graph import Graph
from assay.space import Choice, Space

GROUP = "assay.families"
log = logging.getLogger(__name__)


class Prepares(Protocol):
    """A fitted way from raw columns to what a family trains on.  `assay.data.prepare.Preparation` is the usual one."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The raw columns it reads."""
        ...

    @property
    def groups(self) -> np.ndarray | None:
        """int64 (d,): for every prepared column the position of its raw column; None where that means nothing."""
        ...

    def transform(self, table: Table) -> np.ndarray: ...

    def to_onnx(self, inputs: Mapping[str, str]) -> Graph:
        """The same as nodes.  inputs: the value of each raw column, or of what its front makes of it."""
        ...


class Wish(Protocol):
    """How a family wants raw columns prepared, as a hashable value: equal wishes share one fitted preparation.

    `assay.data.prepare.Recipe` is the one for tables.
    """

    def fit(
        self, table: Table, y: np.ndarray, target: Target, seed: int, weight: np.ndarray | None = None
    ) -> tuple[Prepares, np.ndarray]:
        """Fit on the training rows of a fold; returns the preparation and what the family trains on."""
        ...


@dataclass(frozen=True)
class Target:
    """What is predicted.  kind: "binary", "multiclass" or "regression" for tables."""

    kind: str
    n_classes: int = 0  # 2 for binary; 0 for regression
    metric: str = ""  # public name of the job's metric, for families that can optimise or stop on it
    n_targets: int = 1  # of a regression

    @property
    def is_regression(self) -> bool:
        return self.n_classes == 0

    @property
    def n_outputs(self) -> int:
        """Columns of a prediction: one per class, or one per regression target."""
        return self.n_classes or self.n_targets


@dataclass(frozen=True, eq=False)
class Split:
    """One fold as design matrices, all prepared on the training rows alone.

    x, x_valid: float32 (n, d), (m, d); what else a family's wish makes (pictures, token ids) has the rows first, too.
    y, y_valid: int64 class codes (n,), or float64 targets (n,) that have mean 0 and
    deviation 1 on the training rows (the caller scales and unscales).  weight, weight_valid: float64 (n,) or None.
    groups: for every prepared column the index of the raw column it came from, (d,) int64.  monotone: int64 (d,), +1
    where the answer must not fall with a column, -1 where it must not rise, 0 elsewhere; None without such wishes.
    """

    x: np.ndarray
    y: np.ndarray
    x_valid: np.ndarray
    y_valid: np.ndarray
    target: Target
    weight: np.ndarray | None = None
    weight_valid: np.ndarray | None = None
    groups: np.ndarray | None = None
    monotone: np.ndarray | None = None


@dataclass(frozen=True)
class Shape:
    """The size of the data, for cost estimates."""

    n_rows: int
    n_features: int  # of the design matrix
    n_classes: int = 0
    side: int = 0  # of the pictures as they are decoded, in pixels; 0 where there are none or it is not known
    chars: float = 0.0  # of a row's texts on average; 0 where there are none or it is not known

    def text_length(self, most: float = 1024.0, least: float = 0.0) -> float:
        """Of a row's texts, those of 150 characters being 1, which is also what an unknown length counts as.

        most: characters, of which more are not read.  least: characters that shorter texts cost as much as.
        """
        return min(max(self.chars, least), most) / 150.0 if self.chars > 0 else 1.0


@dataclass(frozen=True)
class Cost:
    """What one fit of one fold is expected to need on one core.  Rough: observed times refine it.

    kept: what of it is computed once for all trials of a job (features of pictures), as a name and its part of the
    seconds: a later trial that needs the same is expected to be quicker by so much.
    """

    seconds: float
    host_bytes: int
    device_bytes: int = 0
    kept: tuple[Hashable, float] | None = None


class TrialContext(Protocol):
    """All that a family may know of the world outside while it trains one fold (or all folds, see `fit_folds`)."""

    device: str  # "cpu" or "cuda"
    rng: np.random.Generator
    seed: int
    max_steps: int  # steps (epochs, boosting rounds, ...) this fit may take; a family without steps ignores it
    threads: int

    def report(self, step: int, score: float) -> None:
        """Tell the validation score after `step` (1-based).  Raises TrialStopped: leave the loop, keep what is best."""
        ...

    def seconds_left(self) -> float:
        """Wall-clock seconds until this fit must end (may be infinite).  Long loops look at it and end in time."""
        ...


class Predictor(Protocol):
    """A fitted model over design matrices."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """x: float32 (n, d) -> float (n, k): k class probabilities (2 for binary), or k = 1 scaled target."""
        ...

    def to_onnx(self, x: str) -> Graph:
        """The fitted model as a graph from the design matrix named x to an output of the shape of `predict`."""
        ...


class Resumable(Predictor, Protocol):
    """Gradient-trained predictors: their state can be stored and training goes on from it."""

    def state(self) -> dict[str, np.ndarray]:
        """Everything needed to go on, as named arrays (written as safetensors)."""
        ...


NETS_SHORTEST = 0.4  # of the epochs of nets for tables: with fewer, schedules that end in time have hardly begun


@runtime_checkable
class Family(Protocol):
    """One kind of model with its search space.

    What not every family can do is told by class attributes that are true: `quantiles` (a regression that answers a
    `assay.quantile.levels.QuantileTarget`, one column a quantile), `monotone` (it obeys `Split.monotone`) and `fits_all` (of
    detectors and segmenters: with an empty validation part it trains for as long as it may and keeps the end); `keeps_time`: a
    trial takes what time there is; `shortest`: the share of its expected time with which a trial still pays, its schedules shortened.
    """

    name: ClassVar[str]
    tasks: ClassVar[frozenset[str]]  # task types it serves, e.g. {"classification", "regression"}
    lane: ClassVar[str]  # "cpu" or "gpu"
    Config: ClassVar[type]  # frozen dataclass: annotations are the space, defaults are trial 0
    reference: ClassVar[str]  # paper or page

    def recipe(self, config: Any) -> Wish:
        """How raw columns become this family's design matrix under this configuration."""
        ...

    def steps(self, config: Any) -> int:
        """How many steps (epochs, rounds) one full fit takes; 1 for a family without a learning curve."""
        ...

    def cost(self, config: Any, shape: Shape) -> Cost: ...

    def fit(self, config: Any, data: Split, ctx: TrialContext) -> Predictor:
        """Train on data.x, data.y.  The validation part serves early stopping and reports only.

        Raises TrialError; on TrialStopped from `ctx.report` returns the best predictor so far if there is one,
        otherwise lets it pass.  Same config, data and ctx.seed give the same predictor.
        """
        ...


@runtime_checkable
class FoldsFamily(Family, Protocol):
    """A family that trains all folds of one configuration as one batched program; reports are means over folds."""

    def fit_folds(self, config: Any, folds: Sequence[Split], ctx: TrialContext) -> list[Predictor]: ...


@runtime_checkable
class WholeFamily(Family, Protocol):
    """A family whose `fit` can also train without a validation part, for the fit on all rows (ADR 6).

    There data.x_valid is empty and ctx.max_steps is what the folds found best: all of it is trained, and nothing is
    chosen by validation.  A family with steps tells in `best_step` of its predictors how many it kept.  A FoldsFamily
    gets such a split beside the folds and keeps for it the epoch where the mean over the folds was best.
    """

    fits_whole: ClassVar[bool]


def space_of(family: Family) -> Space:
    return Space.of(family.Config)


@cache
def discover() -> Mapping[str, Family]:
    """All installed families by name, found through the entry points of the group `assay.families`.

    An entry point names a family object, or a function that returns several.  One that cannot be imported is logged
    and left out: a broken plug-in must not take the service down.
    """
    found: dict[str, Family] = {}
    for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda e: e.name):
        try:
            loaded = entry.load()
            for family in _families(loaded):
                if family.name in found:
                    log.warning("family %r of %r is already there and is left out", family.name, entry.name)
                else:
                    found[family.name] = family
        except Exception:
            log.exception("families of entry point %r could not be loaded", entry.name)
    return dict(sorted(found.items()))


def for_task(task: str) -> dict[str, Family]:
    """Families that serve a task type, by name."""
    return {name: family for name, family in discover().items() if task in family.tasks}


def spaces_of(names: Iterable[str], optimizers: Sequence[str] | None = None) -> dict[str, Space]:
    """The spaces of installed families, in this order.

    optimizers: families that search their optimizer search these only, and are left out if they know none of them.
    Raises ValueError for an optimizer that no family of these knows.
    """
    spaces = {name: space_of(discover()[name]) for name in names}
    if optimizers is None:
        return spaces
    choices = [s["optimizer"].domain for s in spaces.values() if any(d.name == "optimizer" for d in s)]
    known = sorted({str(v) for c in choices if isinstance(c, Choice) for v in c.values})
    for optimizer in optimizers:
        if optimizer not in known:
            told = ", ".join(known) or "none: no family of this job searches its optimizer"
            raise ValueError(f"{optimizer!r} is not an optimizer of these families; known: {told}")
    narrowed = {name: space.narrowed("optimizer", optimizers) for name, space in spaces.items()}
    return {name: space for name, space in narrowed.items() if space is not None}


def _families(loaded: Any) -> Iterable[Family]:
    if isinstance(loaded, Family):
        return [loaded]
    return list(loaded())
