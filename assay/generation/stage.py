"""One fold of a generation problem, made ready once: what families learn from, and who judges."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from assay.data.table import Blobs, Table
from assay.generation.columns import RowCoder, fit_rows
from assay.generation.compose import Composed, compose_pictures, compose_rows
from assay.generation.judge import TSTR_DRAWS, PictureJudge, RowJudge
from assay.generation.parts import Pictures, Rows
from assay.generation.peer import mixture
from assay.generation.retell import Retelling, fit_retelling
from assay.metrics.generation import two_sample
from assay.tasks._problem import Problem

IMAGES, ROWS = "generated_images", "generated_rows"
LEAST_SAMPLES, MOST_SAMPLES = 1000, 10_000  # drawn to judge rows
MANY_SAMPLES = 4500  # up to here rows are drawn several times, so that luck does not settle what they teach
# errors of a number, and of a class's logits inverted, in those of unseen rows: whoever learns from drawn rows learns through
# their noise twice
CALMS = (0.7, 0.4, 0.15)
CALM_OF_MANY = 0.7  # where nothing is tried
FEW_ROWS = 4000  # up to here calms are tried
PEER_ROWS = 1000  # a peer learns from
PICTURE_SAMPLES = 512
LOOP_SAMPLES = 256  # of pictures that are drawn value by value
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class RowStage:
    coder: RowCoder
    data: Rows
    judge: RowJudge

    @cached_property
    def retelling(self) -> Retelling | None:
        """Grown once for all trials of a fold."""
        return fit_retelling(self.coder, self.judge.train)

    @property
    def own_seconds(self) -> float:
        """What the stage itself learns, besides a trial's fit."""
        return self.retelling.seconds if self.retelling else 0.0

    @property
    def calms(self) -> tuple[float, ...]:
        """How a generator may be composed: with the target told anew, its errors that much smaller than those of unseen rows.
        A target is always told anew: that served it with every generator on nearly every table."""
        return CALMS if self.retelling and len(self.data.train) <= FEW_ROWS else (CALM_OF_MANY,)

    @cached_property
    def peer(self) -> float:
        """two_sample of a Gaussian mixture of the same rows, which a generator should not fall short of; 0 where rows are so
        many that nobody looks."""
        if len(self.data.train) > FEW_ROWS:
            return 0.0
        try:
            n = len(self.judge.train)
            some = self.judge.train.take(np.linspace(0, n - 1, min(PEER_ROWS, n)).astype(np.int64))
            drawn = self.judge.made(mixture(some.select(self.names)), math.nan, taught=False)
        except (ValueError, np.linalg.LinAlgError):
            log.exception("no Gaussian mixture can be fitted to these rows")
            return 0.0
        told = two_sample(self.judge.real, drawn)
        return told if math.isfinite(told) else 0.0

    @property
    def names(self) -> list[str]:
        return [c.name for c in self.coder.columns]

    def compose(self, generator: Any, calm: float = CALM_OF_MANY) -> Composed:
        return compose_rows(self.coder, generator, self.retelling.calmed(calm) if self.retelling else None)

    def n_samples(self, composed: Composed) -> int:
        n = len(self.data.train)
        return int(np.clip(n, max(LEAST_SAMPLES, min(TSTR_DRAWS * n, MANY_SAMPLES)), MOST_SAMPLES))

    def before(self, problem: Problem, rows: np.ndarray) -> RowJudge:
        """The judge with other rows held out."""
        return self.judge.at(problem.features.take(rows))


@dataclass(frozen=True, eq=False)
class PictureStage:
    data: Pictures
    judge: PictureJudge
    labels: tuple[str, ...]
    column: str | None
    own_seconds = 0.0
    calms: tuple[float, ...] = (0.0,)
    peer = 0.0

    def compose(self, generator: Any, calm: float = 0.0) -> Composed:
        shares = np.bincount(self.data.y, minlength=max(1, len(self.labels))) / len(self.data.y)
        return compose_pictures(generator, self.data.size, self.data.channels, self.labels, self.column, shares)

    def n_samples(self, composed: Composed) -> int:
        return LOOP_SAMPLES if composed.spec["loop"] else PICTURE_SAMPLES

    def before(self, problem: Problem, rows: np.ndarray) -> PictureJudge:
        pixels, _ = pictures(problem)
        return self.judge.at(pixels[rows])


Stage = RowStage | PictureStage
_STAGES: WeakKeyDictionary[Problem, dict[int, Stage]] = WeakKeyDictionary()
_PIXELS: WeakKeyDictionary[Problem, np.ndarray] = WeakKeyDictionary()


def stage_of(problem: Problem, fold: int) -> Stage:
    """Made once for a problem and fold, and kept as long as the problem is."""
    kept = _STAGES.setdefault(problem, {})
    if fold not in kept:
        make = _pictures if problem.resolved.kind == IMAGES else _rows
        kept[fold] = make(problem, *problem.folds.pairs[fold])
    return kept[fold]


def whole_stage(problem: Problem, test: bool = False) -> Stage:
    """Everything that is not kept for the test, or all there is, to learn from; what it is judged by was learned from,
    too."""
    train, valid = problem.folds.pairs[0]
    rows = np.sort(np.concatenate([train, valid, *([problem.folds.test] if test else [])]))
    return (_pictures if problem.resolved.kind == IMAGES else _rows)(problem, rows, valid)


def _rows(problem: Problem, learn: np.ndarray, judge: np.ndarray) -> RowStage:
    train, valid = problem.features.take(learn), problem.features.take(judge)
    target = problem.resolved.target or None
    coder = fit_rows(train, target)
    return RowStage(
        coder, Rows(coder.layout, coder.encode(train), coder.encode(valid)), RowJudge(coder, train, valid, target)
    )


def _pictures(problem: Problem, train: np.ndarray, valid: np.ndarray) -> PictureStage:
    pixels, y = pictures(problem)
    data = Pictures(pixels[train], y[train], pixels[valid], y[valid], max(1, len(problem.classes)))
    column = problem.resolved.target or None
    return PictureStage(data, PictureJudge(data.x, data.x_valid), problem.classes, column)


def pictures(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (n, S, S, C), C = 1 where every picture is grey; int64 (n,) codes of the condition."""
    if problem not in _PIXELS:
        name = next(n for n, c in problem.features.columns.items() if isinstance(c, Blobs))
        pixels = problem.fronts[name].encode(problem.features.columns[name])
        is_grey = bool((pixels == pixels[..., :1]).all())
        _PIXELS[problem] = pixels[..., :1] if is_grey else pixels
    return _PIXELS[problem], problem.y


def image_column(table: Table) -> str | None:
    return next((n for n, c in table.columns.items() if isinstance(c, Blobs)), None)
