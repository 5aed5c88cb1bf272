"""What a target of texts reads: one column, or the two of a pair, and whether its rows are ranked within groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.multitask.targets import MultiTarget, OneTarget

SINGLE, PAIR, SIMILARITY, RANKING = "single", "pair_classification", "similarity", "ranking"


@dataclass(frozen=True)
class Reads:
    """columns: positions among the features; way: SINGLE, PAIR, SIMILARITY, or RANKING, where rows with the same first text
    are candidates of one question."""

    way: str
    columns: tuple[int, ...]


@dataclass(frozen=True)
class TextTarget(MultiTarget):
    """The targets of a job over texts, with what each reads."""

    reads: tuple[Reads, ...] = ()

    @staticmethod
    def over(targets: Sequence[OneTarget], reads: Sequence[Reads], metric: str) -> TextTarget:
        plain = MultiTarget.of(targets, metric)
        return TextTarget(plain.kind, 0, metric, plain.n_targets, plain.targets, tuple(reads))


def reads_of(target: MultiTarget, n_columns: int) -> tuple[Reads, ...]:
    """Of every target; all columns as one where nothing was said."""
    if isinstance(target, TextTarget) and target.reads:
        return target.reads
    return tuple(Reads(SINGLE, tuple(range(n_columns))) for _ in target.targets)


def ranked(truth: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """How well candidates stand in order within their groups, over the groups that have good and bad ones.

    truth: 1 for good, 0 for others; `mrr` is the mean of 1 / place of the first good one, `top1` the share of groups whose
    first place is good.
    """
    order = np.lexsort((-scores, groups))
    starts = np.flatnonzero(np.r_[True, np.diff(groups[order]) != 0])
    firsts = []
    for rows in np.split(order, starts[1:]):
        good = truth[rows] > 0
        if good.any() and not good.all():
            firsts.append(int(np.argmax(good)) + 1)
    if not firsts:
        return {}
    places = np.array(firsts, np.float64)
    return {"mrr": float(np.mean(1.0 / places)), "top1": float(np.mean(places == 1))}
