"""Several targets at once: one column of truth each, some of it missing, and their answers side by side.

Truth is a matrix with a column per target: class codes or numbers, NaN where a row has no label.  A prediction has the
answers of all targets side by side, in order: class probabilities, or one number in the target's own unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from assay.families import Target

KIND = "multitask"
MULTILABEL = "multilabel"  # every target has two classes
MULTIOUTPUT = "multioutput"  # every target is a number


@dataclass(frozen=True)
class OneTarget:
    """kind: "binary", "multiclass" or "regression".  classes: in order, empty for numbers."""

    name: str
    kind: str
    classes: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Columns of its answer."""
        return len(self.classes) or 1

    @property
    def single(self) -> Target:
        """The same as the target of a job of its own."""
        return Target(self.kind, len(self.classes), "log_loss" if self.classes else "rmse")

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "kind": self.kind, "classes": list(self.classes)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> OneTarget:
        return OneTarget(str(data["name"]), str(data["kind"]), tuple(data["classes"]))


@dataclass(frozen=True)
class MultiTarget(Target):
    """All targets of a job.  Regression targets are not scaled for families: each scales its own."""

    targets: tuple[OneTarget, ...] = ()

    @staticmethod
    def of(targets: Sequence[OneTarget], metric: str) -> MultiTarget:
        return MultiTarget(KIND, 0, metric, sum(t.width for t in targets), tuple(targets))

    @property
    def is_regression(self) -> bool:
        return False

    @property
    def n_outputs(self) -> int:
        return self.n_targets


def spans(targets: Sequence[OneTarget]) -> list[slice]:
    """Where each target's answer stands in a prediction."""
    ends = list(accumulate(t.width for t in targets))
    return [slice(end - t.width, end) for t, end in zip(targets, ends, strict=True)]


class Truth(np.ndarray):
    """float64 (n, targets); selections of rows know the targets too."""

    targets: tuple[OneTarget, ...]

    def __array_finalize__(self, other: Any) -> None:
        self.targets = getattr(other, "targets", ())

    @staticmethod
    def of(matrix: np.ndarray, targets: Sequence[OneTarget]) -> Truth:
        found = np.array(matrix, np.float64).reshape(-1, len(targets)).view(Truth)
        found.targets = tuple(targets)
        return found

    def column(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """(rows with a label, their labels): int64 codes for classes, float64 numbers for others."""
        values = np.asarray(self)[:, i]
        rows = np.flatnonzero(~np.isnan(values))
        known = values[rows]
        return rows, known.astype(np.int64) if self.targets[i].classes else known

    def only(self, i: int) -> Truth:
        """The truth of one target alone, all rows: what its single-task twin learns from."""
        return Truth.of(np.asarray(self)[:, [i]], [self.targets[i]])


def constant_answer(truth: Truth, weight: np.ndarray | None) -> np.ndarray:
    """The best answer that looks at no column: class shares and means, (k,)."""
    parts = []
    for i, target in enumerate(truth.targets):
        rows, y = truth.column(i)
        w = np.ones(len(rows)) if weight is None else weight[rows]
        if not len(rows):
            parts.append(np.full(target.width, 1.0 / target.width if target.classes else 0.0))
        elif target.classes:
            counts = np.bincount(y, w, target.width)
            parts.append(counts / counts.sum())
        else:
            parts.append(np.array([np.average(y, weights=w)]))
    return np.concatenate(parts)
