"""The score of a partition: an estimate, without truth, of how well it would agree with one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from assay.clustering.agreement import BELIEF
from assay.clustering.evidence import Evidence
from assay.clustering.quality import estimate, odds

SAMPLE = 1200  # rows that partitions are judged on
MOST_DIMENSIONS = 12  # of the space of comparison; more go to principal components


@dataclass(frozen=True, eq=False)
class Judge:
    """rows: int64 (m,), positions of the judged rows.  evidence: over them, in the space of comparison.

    metric: name of the job's metric, which the search maximises (as a score).
    """

    rows: np.ndarray
    evidence: Evidence
    metric: str = "clustering_quality"
    _scores: dict[bytes, float] = field(default_factory=dict)
    _found: dict[bytes, Mapping[str, float]] = field(default_factory=dict)

    @staticmethod
    def of(x: np.ndarray, seed: int = 0, metric: str = "clustering_quality") -> Judge:
        """x: (n, d), all rows in the space of comparison."""
        n = len(x)
        rng = np.random.default_rng([seed, 7])
        rows = np.arange(n) if n <= SAMPLE else np.sort(rng.choice(n, SAMPLE, replace=False))
        part = np.asarray(x[rows], np.float64)
        if part.shape[1] > MOST_DIMENSIONS:
            centred = part - part.mean(0)
            _, _, axes = np.linalg.svd(centred, full_matrices=False)
            part = centred @ axes[:MOST_DIMENSIONS].T
        return Judge(rows, Evidence(part, seed), metric)

    def score(self, codes: np.ndarray) -> float:
        """Higher is better; -inf for what is no clustering.  codes: (m,) of the judged rows."""
        key = _key(codes)
        if key not in self._scores:
            self._scores[key] = self._score(codes)
        return self._scores[key]

    def preference(self, codes: np.ndarray) -> float:
        """What the clusterings of one configuration are compared by: the score, and where it is the estimate the odds beside it."""
        score = self.score(codes)
        beside = self.metric == "clustering_quality" and np.isfinite(score)
        return score + BELIEF * self.odds(codes) if beside else score

    def quality(self, codes: np.ndarray) -> float:
        """`clustering_quality`, whatever the job's metric is."""
        return self.score(codes) if self.metric == "clustering_quality" else estimate(self._criteria(codes))

    def odds(self, codes: np.ndarray) -> float:
        """See `quality.odds`.  codes: as for `score`, with two clusters or more."""
        return odds(self._criteria(codes))

    def _criteria(self, codes: np.ndarray) -> Mapping[str, float]:
        key = _key(codes)
        if key not in self._found:
            self._found[key] = self.evidence.of(codes)
        return self._found[key]

    def _score(self, codes: np.ndarray) -> float:
        k = len(np.unique(codes[codes >= 0]))
        if k < 2 or (codes >= 0).sum() < max(4, k + 1):
            return -np.inf
        if self.metric == "clustering_quality":
            return estimate(self._criteria(codes))
        from assay.metrics import METRICS

        return METRICS[self.metric].score(self.evidence.x, codes)


def _key(codes: np.ndarray) -> bytes:
    return np.ascontiguousarray(codes, np.int64).tobytes()
