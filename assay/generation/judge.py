"""Samples and held-out data in one space: features for a classifier, an embedding for distances, and train-on-synthetic.

Everything is learned on the training part: columns, projections, the model trained on real rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from assay.data.table import Column, ColumnType, Table, Words
from assay.generation.columns import RowCoder, raw_values
from assay.metrics.generation import Made, Real

MAX_DIMENSIONS = 200  # of an embedding of rows; wider ones are projected
PROJECTED = 128
COMPONENTS = 48  # of pictures
MOST_TRAIN = 100_000  # training rows in which copies are looked for
TSTR_ROWS = 10_000  # at most, to train on
TSTR_DRAWS = 3  # as many rows as were learned from are taught at a time, at most so many times
COMMON = 5  # training rows a word must have; held-out rows have other rare words, which no sample can know
LEAST_SCORE = 0.1  # r2 of real rows below which losses are not counted in units of it
FOREST_ROWS, FOREST_TREES = 1000, 40
ABSENT = -999.0  # a missing cell, for forests
TSTR_CLASSES = 30  # numbers with more distinct values are a regression


@dataclass(frozen=True, eq=False)
class RowJudge:
    """Judges rows of one fold.  held: the rows samples are compared with."""

    coder: RowCoder
    train: Table
    held: Table
    target: str | None

    @cached_property
    def real(self) -> Real:
        known = self.train.take(np.arange(min(MOST_TRAIN, len(self.train))))
        return Real(self._features(self.held), self._embedding(self.held), self._embedding(known))

    def made(self, samples: Mapping[str, np.ndarray], bits: float, taught: bool = True) -> Made:
        """samples: from `assay.generation.draw.draw`.  taught: what they teach is looked at."""
        table = table_of(samples, self.coder)
        tstr = self._tstr(table) if taught else float("nan")
        return Made(self._features(table), self._embedding(table), bits, tstr)

    def at(self, held: Table) -> RowJudge:
        """The same judge before other held-out rows."""
        return RowJudge(self.coder, self.train, held, self.target)

    def _features(self, table: Table) -> np.ndarray:
        """Numbers, and places of words; rare words and new ones count as one."""
        found = np.stack([raw_values(table, c) for c in self.coder.columns], 1).astype(np.float64)
        for j, common in self._common.items():
            place = found[:, j].astype(np.int64)
            is_rare = (place == -2) | ((place >= 0) & ~common[np.maximum(place, 0)])
            found[:, j] = np.where(place == -1, np.nan, np.where(is_rare, -2.0, found[:, j]))
        return found

    @cached_property
    def _common(self) -> dict[int, np.ndarray]:
        """For the columns of words: which of them the training rows have often enough for new rows to have them too."""
        found = {}
        for j, c in enumerate(self.coder.columns):
            if c.form == "word":
                place = raw_values(self.train, c)
                found[j] = np.bincount(place[place >= 0], minlength=len(c.words)) >= COMMON
        return found

    def _embedding(self, table: Table) -> np.ndarray:
        """Scores, and codes as corners that lie 1 apart; float32 (n, e)."""
        wide = self.coder.encode(table).points(self.coder.layout.sizes)
        if wide.shape[1] > MAX_DIMENSIONS:
            matrix = np.random.default_rng(0).standard_normal((wide.shape[1], PROJECTED)).astype(np.float32)
            wide = wide @ (matrix / np.sqrt(np.float32(PROJECTED)))
        return wide

    @cached_property
    def _truth(self) -> tuple[bool, np.ndarray]:
        """(target is a class, its column among the features as a boolean mask)."""
        names = [c.name for c in self.coder.columns]
        at = names.index(str(self.target))
        column = self.coder.columns[at]
        classes = column.form == "word" or (column.knots is None and len(column.atoms) <= TSTR_CLASSES)
        return classes, np.arange(len(names)) == at

    @cached_property
    def _on_real(self) -> tuple[float, ...]:
        return self._taught(self._features(self.train))

    def _tstr(self, table: Table) -> float:
        """Score of a learner taught by samples over that of one taught by real rows, both on the held-out rows: the area
        under the ROC curve (mean of one against the rest), or r2.  Of few rows several draws are taught from and the mean
        taken, by boosted trees and by a forest, and the lower one counts: each loses by other faults of the samples.

        What is lost is counted in units of the real score, or of LEAST_SCORE where real rows teach less than that, so that
        it is known for a target that hardly anything can be said of, too.  NaN without a target.

        Esteban, Hyland, Rätsch, "Real-valued (Medical) Time Series Generation with Recurrent Conditional GANs", 2017.
        """
        if self.target is None:
            return float("nan")
        rows, n = self._features(table), len(self.train)
        draws = [rows[i * n : (i + 1) * n] for i in range(min(TSTR_DRAWS, max(1, len(rows) // n)))]
        drawn = np.maximum(np.mean([self._taught(d) for d in draws], axis=0), 0.0)
        real = np.maximum(self._on_real, 0.0)
        return float((1.0 + (drawn - real) / np.maximum(real, LEAST_SCORE)).min())

    def _taught(self, rows: np.ndarray) -> tuple[float, ...]:
        """The score of every learner that these rows teach, on the held-out rows."""
        classes, at = self._truth
        held = self.real.features
        rows, held = rows[np.isfinite(rows[:, at][:, 0])][:TSTR_ROWS], held[np.isfinite(held[:, at][:, 0])]
        learners = _learners(len(self.train), max(1, len(rows)), classes)
        if len(rows) < 10 or len(held) < 10 or len(np.unique(rows[:, at])) < 2 or rows.shape[1] < 2:
            return (0.0,) * len(learners)
        x, new = (np.nan_to_num(r[:, ~at], nan=ABSENT) for r in (rows, held))
        y, truth = rows[:, at][:, 0], held[:, at][:, 0]
        return tuple(_area(m, x, y, new, truth) if classes else _r2(m, x, y, new, truth) for m in learners)


def _learners(n_train: int, n: int, classes: bool) -> list[Any]:
    """For the n rows that teach.  Of many rows boosted trees alone: luck decides less, and a forest takes its time."""
    from lightgbm import LGBMClassifier, LGBMRegressor
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    options: dict[str, Any] = {
        "n_estimators": 100, "num_leaves": 15, "learning_rate": 0.08, "n_jobs": 1, "verbose": -1,
        "min_child_samples": max(3, min(20, n // 20)), "random_state": 0, "deterministic": True,
    }  # fmt: skip
    found: list[Any] = [(LGBMClassifier if classes else LGBMRegressor)(**options)]
    if n_train <= FOREST_ROWS:
        forest = RandomForestClassifier if classes else RandomForestRegressor
        found.append(forest(FOREST_TREES, min_samples_leaf=2, max_features=0.7, random_state=0, n_jobs=1))
    return found


def _r2(model: Any, x: np.ndarray, y: np.ndarray, new: np.ndarray, truth: np.ndarray) -> float:
    told = np.asarray(model.fit(x, y).predict(new))
    spread = float(((truth - truth.mean()) ** 2).mean())
    return 1.0 - float(((truth - told) ** 2).mean()) / spread if spread > 0 else 0.0


def _area(model: Any, x: np.ndarray, y: np.ndarray, new: np.ndarray, truth: np.ndarray) -> float:
    from assay.metrics.tabular import auc

    share = np.asarray(model.fit(x, y.astype(np.int64)).predict_proba(new))
    known = list(model.classes_)
    areas = [
        auc(truth == c, share[:, known.index(c)] if c in known else np.zeros(len(truth))) for c in np.unique(truth)
    ]
    finite = [a for a in areas if np.isfinite(a)]
    return float(np.mean(finite)) if finite else 0.0


def table_of(samples: Mapping[str, np.ndarray], coder: RowCoder) -> Table:
    """Samples as the table they imitate."""
    columns: dict[str, Column] = {}
    types: dict[str, ColumnType] = {}
    for c in coder.columns:
        values = samples[c.name]
        columns[c.name] = values if c.form == "number" else Words.of(values)
        types[c.name] = c.type
    return Table(columns, types)


@dataclass(frozen=True, eq=False)
class PictureJudge:
    """Judges pictures.  train, held: uint8 (n, S, S, C)."""

    train: np.ndarray
    held: np.ndarray

    @cached_property
    def real(self) -> Real:
        return Real(self._features(self.held), self._embedding(self.held), self._embedding(self.train))

    def made(self, samples: Mapping[str, np.ndarray], bits: float) -> Made:
        pictures = samples["image"][..., : self.train.shape[3]]
        return Made(self._features(pictures), self._embedding(pictures), bits)

    def at(self, held: np.ndarray) -> PictureJudge:
        return PictureJudge(self.train, held)

    @cached_property
    def _projection(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean (p,) and principal directions (p, e) of the training pictures."""
        x = _flat(self.train[:5000])
        mean = x.mean(0)
        _, _, directions = np.linalg.svd(x - mean, full_matrices=False)
        return mean, directions[:COMPONENTS].T

    def _embedding(self, pictures: np.ndarray) -> np.ndarray:
        """The first principal components, in units of one standard deviation of the pictures' pixels together."""
        mean, directions = self._projection
        return np.asarray((_flat(pictures) - mean) @ directions, np.float32)

    def _features(self, pictures: np.ndarray) -> np.ndarray:
        """Components, what they leave over, how rough a picture is, how many values lie at the ends, and small pictures."""
        mean, directions = self._projection
        x = _flat(pictures)
        components = (x - mean) @ directions
        left = ((x - mean - components @ directions.T) ** 2).mean(1, keepdims=True)
        grid = pictures.astype(np.float32) / 255
        steps = [np.abs(np.diff(grid, axis=a)).mean((1, 2, 3))[:, None] for a in (1, 2)]
        second = [np.abs(np.diff(grid, 2, axis=a)).mean((1, 2, 3))[:, None] for a in (1, 2)]
        ends = [(grid <= 0.02).mean((1, 2, 3))[:, None], (grid >= 0.98).mean((1, 2, 3))[:, None]]
        return np.concatenate([components, left, *steps, *second, *ends, _small(grid)], 1)


def _flat(pictures: np.ndarray) -> np.ndarray:
    return pictures.reshape(len(pictures), -1).astype(np.float32) / 255


def _small(grid: np.ndarray) -> np.ndarray:
    """Grey pictures of at most 8 x 8 block means, (n, 64)."""
    n, size = len(grid), grid.shape[1]
    block = max(1, size // 8)
    cut = size // block * block
    grey = grid[:, :cut, :cut].mean(3)
    return np.asarray(grey.reshape(n, cut // block, block, cut // block, block).mean((2, 4)).reshape(n, -1))
