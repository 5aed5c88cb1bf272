"""One model for every quantile, answered side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from assay.errors import TrialStopped
from assay.families import Predictor, Split, Target, TrialContext
from assay.multitask.single import Part, Share, Together
from assay.quantile.levels import QuantileTarget


def each_quantile(
    data: Split, ctx: TrialContext, steps: int, fit: Callable[[Split, TrialContext, float], Predictor]
) -> Together:
    """fit: (the fold with a plain number as its target, its share of the time, the quantile) -> its model."""
    assert isinstance(data.target, QuantileTarget)
    plain = replace(
        data,
        target=Target("regression", metric=data.target.metric),
        y=np.asarray(data.y),
        y_valid=np.asarray(data.y_valid),
    )
    parts = []
    levels = data.target.quantiles
    for i, q in enumerate(levels):
        if ctx.seconds_left() <= 0:
            raise TrialStopped
        share = Share(ctx, ctx.seconds_left() / (len(levels) - i), min(steps, ctx.max_steps))
        parts.append(Part(fit(plain, share, q), 0.0, 1.0))
    return Together(parts)
