"""A model of its own for every target, answered together: any family for one target serves several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from assay.data.prepare import Recipe
from assay.errors import TrialStopped
from assay.families import Cost, Family, FoldsFamily, Predictor, Shape, Split, TrialContext, Wish
from assay.model.graph import Graph, Scope
from assay.multitask.recipe import MultiRecipe
from assay.multitask.single import Part, Share, Together, single
from assay.multitask.targets import Truth


def each(family: Family) -> Family:
    """The family that fits this one to every target by itself; one that knows several targets is left as it is."""
    if "multitask" in family.tasks:
        return family
    return cast(Family, EachFolds(family) if isinstance(family, FoldsFamily) else Each(family))


class Each:
    """See `each`.  Preparation is shared: target means are those of all targets."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.name, self.tasks, self.lane = family.name, family.tasks, family.lane
        self.Config, self.reference = family.Config, family.reference

    def recipe(self, config: Any) -> Wish:
        wish = self.family.recipe(config)
        return MultiRecipe(wish) if isinstance(wish, Recipe) else wish

    def steps(self, config: Any) -> int:
        return 1  # curves of one target after the other do not compare

    def cost(self, config: Any, shape: Shape) -> Cost:
        return self.family.cost(config, shape)

    def fit(self, config: Any, data: Split, ctx: TrialContext) -> Predictor:
        assert isinstance(data.y, Truth)
        n = len(data.y.targets)
        parts = []
        for i in range(n):
            own, mean, deviation = single(data, i)
            share = _share(self.family, config, ctx, n - i)
            predictor = _constant(own) or self.family.fit(config, _judged(own), share)
            parts.append(Part(predictor, mean, deviation))
        return Together(parts)


class EachFolds(Each):
    """The same for a family that trains all folds at once."""

    def fit_folds(self, config: Any, folds: Sequence[Split], ctx: TrialContext) -> list[Predictor]:
        assert isinstance(self.family, FoldsFamily) and isinstance(folds[0].y, Truth)
        n = len(folds[0].y.targets)
        parts: list[list[Part]] = [[] for _ in folds]
        for i in range(n):
            own = [single(fold, i) for fold in folds]
            share = _share(self.family, config, ctx, n - i)
            constants = [_constant(split) for split, _, _ in own]
            taught = [_judged(split) for (split, _, _), c in zip(own, constants, strict=True) if c is None]
            fitted = iter(self.family.fit_folds(config, taught, share) if taught else ())
            for kept, constant, (_, mean, deviation) in zip(parts, constants, own, strict=True):
                kept.append(Part(constant or next(fitted), mean, deviation))
        return [Together(kept) for kept in parts]


@dataclass(frozen=True, eq=False)
class Constant:
    """The same answer for every row; answer: (k,)."""

    answer: np.ndarray

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.tile(self.answer, (len(x), 1))

    def to_onnx(self, x: str) -> Graph:
        scope = Scope()
        rows = scope.add("Shape", x, start=0, end=1)
        shape = scope.add("Concat", rows, scope.const(np.array([len(self.answer)], np.int64)), axis=0)
        return scope.graph(scope.add("Expand", scope.const(self.answer[None].astype(np.float32)), shape))


def _constant(split: Split) -> Constant | None:
    """The answer where a fold has nothing to learn a target from: no label, or labels that are all alike."""
    if len(split.y) and np.any(split.y != split.y[0]):
        return None
    if split.target.is_regression:
        return Constant(np.zeros(1))
    counts = np.bincount(split.y, minlength=split.target.n_classes) + 1e-6
    return Constant(counts / counts.sum())


def _judged(split: Split) -> Split:
    """The same, judged by its own training rows where no validation row has a label."""
    if len(split.y_valid):
        return split
    return replace(split, x_valid=split.x, y_valid=split.y, weight_valid=split.weight)


def _share(family: Family, config: Any, ctx: TrialContext, left: int) -> TrialContext:
    if ctx.seconds_left() <= 0:
        raise TrialStopped
    return Share(ctx, ctx.seconds_left() / left, family.steps(config))
