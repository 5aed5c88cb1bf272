"""Whether a generator that is about to be delivered writes down rows it learned from.

A trial is refused for copies that cannot be chance, and on a hundred held-out rows a few in a hundred can.  Here more
samples are looked at, and chance is what the real rows show among themselves, all of them: how many have another one
nearer than a tenth of the usual distance.
"""

from __future__ import annotations

import math

import numpy as np

from assay.generation.compose import Composed, session
from assay.generation.draw import draw
from assay.generation.stage import RowStage, Stage
from assay.metrics.generation import MOST, NEAR, nearest

SAMPLES = 2000
LIMIT = 0.005  # share of copies beyond chance
SURE = 0.02  # probability of so few pairs of rows from which copies are no chance
SEED = 20_000_033


def copied(stage: Stage, composed: Composed) -> tuple[float, bool]:
    """(share of fresh samples that are nearer to a row of the stage than rows are to one another, beyond the share of rows
    that are; whether there are copies).  There are none if so few near pairs of rows would be no surprise were rows near to
    each other as often as samples are (Poisson); nor in pictures, which the judge of their trial has looked at."""
    if not isinstance(stage, RowStage):
        return 0.0, False
    rows = stage.judge.real.train
    samples = draw(session(composed.encoded()), composed.spec, SAMPLES, SEED, {})
    made = stage.judge.made(samples, float("nan"), taught=False).embedding
    among = nearest(rows[:MOST], rows, own=True)
    near = NEAR * float(np.median(among)) + 1e-6
    share, chance = float((nearest(made, rows) <= near).mean()), float((among <= near).mean())
    if not share:
        return 0.0, False
    expected, pairs = share * len(among) / 2, int((among <= near).sum()) // 2  # near rows come in pairs
    surprise = sum(math.exp(k * math.log(expected) - expected - math.lgamma(k + 1)) for k in range(pairs + 1))
    more = max(0.0, share - chance)
    return more, more > LIMIT and surprise < SURE
