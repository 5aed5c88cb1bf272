"""What all families of clusterings share: a scan over the number of clusters (or the density level), judged at every step."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from assay.clustering.assign import Assigner
from assay.clustering.judge import Judge
from assay.errors import Diverged, TrialStopped
from assay.families import Cost, Shape, Split, TrialContext

SAMPLE = 4000  # rows that families without a model of their own cluster; the rest gets the cluster of the nearest
COARSE = (2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 22, 27, 33, 40, 50)
REFINED = 8  # further numbers of clusters tried around the best


@dataclass(frozen=True, eq=False)
class ClusterSplit(Split):
    """All rows of a clustering problem (there is nothing to hold out), and what judges their clusters."""

    judge: Judge | None = None


class ClusterFamily:
    """Base of clustering families.  `candidates` yields fitted clusterings; `fit` returns the best one."""

    tasks: ClassVar[frozenset[str]] = frozenset({"clustering"})
    lane: ClassVar[str] = "cpu"

    def steps(self, config: Any) -> int:
        return 1 if getattr(config, "n_clusters", 0) else len(COARSE) + REFINED

    def fit(self, config: Any, data: Split, ctx: TrialContext) -> Assigner:
        """The candidate that the judge prefers.  Raises Diverged when there is none with two clusters."""
        judge = getattr(data, "judge", None) or Judge.of(data.x, ctx.seed)
        scan = Scan(judge, data.x[judge.rows], ctx, self.steps(config))
        try:
            self.search(config, data.x, scan, ctx)
        except TrialStopped:
            if scan.best is None:
                raise
        if scan.best is None:
            raise Diverged(f"no candidate of {self.name} has two clusters or more")  # type: ignore[attr-defined]
        return scan.best

    def search(self, config: Any, x: np.ndarray, scan: Scan, ctx: TrialContext) -> None:
        """Offer clusterings to the scan, each with the fields of the configuration that the scan decided."""
        raise NotImplementedError

    def again(self, config: Any, assigner: Assigner, x: np.ndarray, ctx: TrialContext) -> Assigner | None:
        """The clustering of other rows in the setting that `assigner` was found with; None: there is none."""
        only = _Only()
        self.search(dataclasses.replace(config, **assigner.setting), x, only, ctx)
        return only.best


class Scan:
    """Candidates offered so far and the best of them."""

    def __init__(self, judge: Judge, x: np.ndarray, ctx: TrialContext, steps: int) -> None:
        self.judge, self.x, self.ctx, self.steps = judge, x, ctx, steps
        self.best: Assigner | None = None
        self.best_score = self.best_preference = -np.inf
        self.offered = 0

    def offer(self, candidate: Assigner, **setting: Any) -> float:
        """How much it is preferred; reports the score of the preferred one.  Raises TrialStopped when it is time to end."""
        candidate.setting.update(setting)
        codes = candidate.predict(self.x)[:, 0].astype(np.int64)
        preference = self.judge.preference(codes)
        self.offered += 1
        if np.isfinite(preference) and (self.best is None or preference > self.best_preference):
            self.best, self.best_preference, self.best_score = candidate, preference, self.judge.score(codes)
        if self.best is not None and self.offered <= min(self.steps, self.ctx.max_steps):
            self.ctx.report(self.offered, float(self.best_score))
        return preference

    def in_time(self) -> bool:
        return self.best is None or self.ctx.seconds_left() > 0

    def numbers(self, config: Any, n: int) -> Iterator[tuple[int, list[float]]]:
        """Numbers of clusters to try, each with a list that takes its score: all steps of COARSE, then around the best."""
        fixed = config.n_clusters
        most = max(2, min(COARSE[-1], n // 4))
        scores: dict[int, float] = {}

        def asked(k: int) -> Iterator[tuple[int, list[float]]]:
            told: list[float] = []
            yield k, told
            scores[k] = told[0] if told else -np.inf

        if fixed:
            yield from asked(min(fixed, most))
            return
        for k in COARSE:
            if k > most or not self.in_time():
                break
            yield from asked(k)
        for _ in range(REFINED):
            following = _between(scores, most)
            if following is None or not self.in_time():
                return
            yield from asked(following)


class _Only(Scan):
    """Takes the first candidate as it is."""

    def __init__(self) -> None:
        self.best = None

    def offer(self, candidate: Assigner, **setting: Any) -> float:
        self.best = self.best or candidate
        return 0.0

    def in_time(self) -> bool:
        return True


def _between(scores: dict[int, float], most: int) -> int | None:
    """An untried number next to the best one, in the middle of the gap to the better neighbour; None: there is none."""
    best = max(scores, key=lambda k: (scores[k], -k))
    gaps = []
    below, above = [k for k in scores if k < best], [k for k in scores if k > best]
    if below and best - max(below) > 1:
        gaps.append((scores[max(below)], (best + max(below)) // 2))
    if above and min(above) - best > 1:
        gaps.append((scores[min(above)], (best + min(above)) // 2))
    elif not above and best < most:
        gaps.append((-1.0, min(most, best + max(1, best // 8))))
    return max(gaps)[1] if gaps else None


def drawn(x: np.ndarray, ctx: TrialContext, most: int = SAMPLE) -> np.ndarray:
    """Up to `most` rows, always the same of the same data."""
    if len(x) <= most:
        return x
    return np.asarray(x[np.sort(np.random.default_rng(0).choice(len(x), most, replace=False))])


def spread_costs(shape: Shape, seconds: float, rows: int | None = None) -> Cost:
    """The scan's own seconds plus judging; `rows`: rows the family really clusters."""
    n = shape.n_rows if rows is None else min(shape.n_rows, rows)
    return Cost(seconds + 0.3 + 2e-6 * shape.n_rows, 64 * n * max(4, shape.n_features) + 24 * 1500**2 + (8 << 20))
