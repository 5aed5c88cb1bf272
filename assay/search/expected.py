"""How long a trial will take: the family's own estimate, corrected by what its trials took so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np

from assay.families import Shape, WholeFamily
from assay.families import discover as families
from assay.search.trial import Facts, Trial
from assay.space import Value, build

OVERHEAD, OVERHEAD_OF_FOLD = 0.1, 0.03  # seconds of a trial beside its fits: preparing, judging, writing
SLOWEST, FASTEST = 30.0, 0.05  # how far observation may move an estimate
LAST = 7  # trials of a family that are looked at


def expected_seconds(trials: Sequence[Trial], facts: Facts) -> Callable[[str, Mapping[str, Value]], float]:
    """(family, configuration) -> seconds of a whole trial.

    A family's correction is the ratio of observed to estimated seconds over its last completed trials, drawn to that of
    all families while there are few; before anything completed the estimates stand.  Sums are compared, so that what is
    dear decides and the noise of quick trials does not.  A family that `keeps_time` says what is enough for it and takes
    what there is: how long its trials took, or how slowly others began, says nothing of the next one.
    """
    shape = Shape(
        max(1, facts.n_rows * max(1, facts.n_folds - 1) // max(2, facts.n_folds)), facts.n_features, facts.n_classes
    )

    @cache
    def fits(family: str) -> int:
        return facts.n_folds + isinstance(families()[family], WholeFamily)

    def estimate(family: str, config: Mapping[str, Value]) -> float:
        overhead = OVERHEAD + OVERHEAD_OF_FOLD * facts.n_folds
        found = families().get(family)
        if found is None:
            return overhead
        return overhead + float(found.cost(build(found.Config, dict(config)), shape).seconds) * fits(family)

    @cache
    def learned() -> tuple[Mapping[str, list[tuple[float, float]]], float]:
        """What is known of each family and of all; looked for when it is first asked: many strategies never do."""
        seen: dict[str, list[tuple[float, float]]] = {}
        for t in trials:
            if t.score is not None and t.seconds is not None:
                seen.setdefault(t.family, []).append((t.seconds, estimate(t.family, t.config)))
        return seen, _ratio([pair for pairs in seen.values() for pair in pairs])

    @cache
    def correction(family: str) -> float:
        if getattr(families().get(family), "keeps_time", False):
            return 1.0
        seen, overall = learned()
        pairs = seen.get(family, [])[-LAST:]
        weight = len(pairs) / (len(pairs) + 0.5)
        return float(np.clip(_ratio(pairs) ** weight * overall ** (1 - weight), FASTEST, SLOWEST))

    return lambda family, config: estimate(family, config) * correction(family)


def _ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """Observed over estimated; 1 for none."""
    return max(1e-3, sum(o for o, _ in pairs)) / sum(e for _, e in pairs) if pairs else 1.0
