"""How long a trial will take: the family's own estimate, corrected by what its trials took so far."""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Mapping, Sequence
from functools import cache

import numpy as np

from assay.families import Cost, Shape, WholeFamily
from assay.families import discover as families
from assay.search.trial import Facts, Trial
from assay.space import Value, build

OVERHEAD, OVERHEAD_OF_FOLD = 0.1, 0.03  # seconds of a trial beside its fits: preparing, judging, writing
SLOWEST, FASTEST = 30.0, 0.05  # how far observation may move an estimate
LAST = 7  # trials of a family that are looked at


def expected_seconds(trials: Sequence[Trial], facts: Facts) -> Callable[[str, Mapping[str, Value]], float]:
    """(family, configuration) -> seconds of a whole trial.

    A family's correction is the ratio of observed to estimated seconds over its last completed trials, drawn to that of
    all families while there are few; before anything completed the estimates stand.  Of a family sums are compared, so that
    what is dear decides and the noise of quick trials does not; of all families it is the middle one that counts, since how
    fast the machine is shows in all alike and a wrong estimate in one.  A family that `keeps_time` says what is enough for it and takes
    what there is: how long its trials took, or how slowly others began, says nothing of the next one.  What is kept for all
    trials (`Cost.kept`) is paid once a job, whatever the folds; after a trial that needed it, it is there.
    """
    shape = Shape(_training_rows(facts), facts.n_features, facts.n_classes, facts.side, facts.chars)
    overhead = OVERHEAD + OVERHEAD_OF_FOLD * facts.n_folds

    @cache
    def cost_of(family: str, config: tuple[tuple[str, Value], ...]) -> Cost | None:
        found = families().get(family)
        return None if found is None else found.cost(build(found.Config, dict(config)), shape)

    def estimate(family: str, config: Mapping[str, Value], there: Container[Hashable]) -> float:
        cost = cost_of(family, tuple(config.items()))
        if cost is None:
            return overhead
        kept, once = cost.kept or (None, 0.0)
        fits = facts.n_folds + isinstance(families()[family], WholeFamily)
        return overhead + max(0.0, cost.seconds - once) * fits + (0.0 if kept in there else once)

    @cache
    def learned() -> tuple[Mapping[str, list[tuple[float, float]]], float, Container[Hashable]]:
        """What is known of each family and of all, and what is kept; looked for when it is first asked: many strategies
        never do."""
        there: set[Hashable] = set()
        seen: dict[str, list[tuple[float, float]]] = {}
        for t in trials:
            if t.score is not None and t.seconds is not None:
                seen.setdefault(t.family, []).append((t.seconds, estimate(t.family, t.config, there)))
                cost = cost_of(t.family, tuple(t.config.items()))
                if cost is not None and cost.kept is not None:
                    there.add(cost.kept[0])
        middle = float(np.median([np.log(_ratio(pairs)) for pairs in seen.values()])) if seen else 0.0
        return seen, float(np.exp(middle * len(seen) / (len(seen) + 1.0))), there

    @cache
    def correction(family: str) -> float:
        if keeps_time(family):
            return 1.0
        seen, overall, _ = learned()
        pairs = seen.get(family, [])[-LAST:]
        weight = len(pairs) / (len(pairs) + 0.5)
        return float(np.clip(_ratio(pairs) ** weight * overall ** (1 - weight), FASTEST, SLOWEST))

    return lambda family, config: estimate(family, config, learned()[2]) * correction(family)


def keeps_time(family: str) -> bool:
    """Whether trials of the family take what time there is, and end in it with less."""
    return bool(getattr(families().get(family), "keeps_time", False))


def shortest_share(family: str) -> float:
    """The share of its expected time with which a trial of the family still pays, its schedules shortened; 1 for most."""
    return float(getattr(families().get(family), "shortest", 1.0))


def _training_rows(facts: Facts) -> int:
    """Of one fold.  A hold-out counts as half of the rows, which the estimates for other data were measured with; pictures
    lose a test part and a part of the rest."""
    if facts.side and facts.n_folds <= 1:
        return max(1, int(0.8 * facts.n_rows))
    return max(1, facts.n_rows * max(1, facts.n_folds - 1) // max(2, facts.n_folds))


def _ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """Observed over estimated; 1 for none."""
    return max(1e-3, sum(o for o, _ in pairs)) / sum(e for _, e in pairs) if pairs else 1.0
