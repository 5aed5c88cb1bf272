"""Nets over fields: one population for all folds whose columns are grouped alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from assay.errors import TrialStopped
from assay.families import Predictor, Split, TrialContext

if TYPE_CHECKING:
    from assay.nn.net import Net
    from assay.training.folds import FoldPlan

Groups = tuple[int, ...]


def groups_of(split: Split) -> Groups:
    """The raw column of every prepared one; each its own where that is not told."""
    groups = np.arange(split.x.shape[1]) if split.groups is None else split.groups
    return tuple(int(g) for g in groups)


def train_fields(
    plan: Callable[[Callable[[int, int], Net]], FoldPlan],
    net: Callable[[Groups, int], Net],
    folds: Sequence[Split],
    ctx: TrialContext,
    resume: Sequence[Mapping[str, np.ndarray]] | None,
) -> list[Predictor]:
    """Train all folds.  plan: for an architecture by (columns, outputs).  net: by (groups, outputs).

    Folds may differ in their columns (a rare level, a constant): those with the same ones train together, and the steps
    that are told are those of the first kind.
    """
    from assay.training.folds import train_folds

    kinds: dict[Groups, list[int]] = {}
    for i, fold in enumerate(folds):
        kinds.setdefault(groups_of(fold), []).append(i)
    found: dict[int, Predictor] = {}
    for n, (groups, members) in enumerate(kinds.items()):
        own = plan(lambda d, k, groups=groups: net(groups, k))  # type: ignore[misc]
        states = None if resume is None else [resume[i] for i in members]
        share = _Share(ctx, len(kinds) - n, quiet=n > 0)
        for i, predictor in zip(members, train_folds(own, [folds[i] for i in members], share, states), strict=True):
            found[i] = predictor
    return [found[i] for i in range(len(folds))]


class _Share:
    """The context of one of several trainings in a row: an equal share of the time that is left."""

    def __init__(self, ctx: TrialContext, left: int, quiet: bool) -> None:
        self.device, self.rng, self.seed = ctx.device, ctx.rng, ctx.seed
        self.max_steps, self.threads = ctx.max_steps, ctx.threads
        self._ctx, self._quiet = ctx, quiet
        self._keep = ctx.seconds_left() * (1.0 - 1.0 / left) if left > 1 else 0.0

    def report(self, step: int, score: float) -> None:
        if not self._quiet:
            self._ctx.report(step, score)
        elif self.seconds_left() <= 0:
            raise TrialStopped

    def seconds_left(self) -> float:
        left = self._ctx.seconds_left()
        return left if math.isinf(left) else left - self._keep
