"""The part of `propose` that all strategies share: defaults first, no repeats, an end when nothing is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice

import numpy as np

from assay.search.strategies._finite import cardinality, configurations
from assay.search.trial import History, Proposal, Trial, TrialStatus
from assay.space import Space

ATTEMPTS = 12  # draws of the strategy's own before chance takes over
RANDOM_ATTEMPTS = 32  # random draws before the untried configurations are listed


# One proposal, perhaps a repeat; None: no idea.  It is given the history with what this ask already proposed as open
# trials, the families that still have something untried, and the attempt: 0, then 1, 2, ... after repeats; a later
# attempt should look farther away.
Draw = Callable[[History, Mapping[str, Space], int], Proposal | None]
Tried = set[tuple[str, str]]  # (family, configuration key)


def ask(
    history: History,
    spaces: Mapping[str, Space],
    rng: np.random.Generator,
    n: int,
    draw: Draw,
    defaults: int | None = None,
    tried: Tried | None = None,
) -> list[Proposal]:
    """Up to n proposals, all different and none of them tried before.

    The families' untried default configurations come first, in the order of `spaces` (`defaults`: of so many families;
    None: of all).  tried: `history.keys(spaces)` where the caller has it already.  Fewer than n come back only when every configuration has been tried.
    """
    tried = set(history.keys(spaces) if tried is None else tried)
    proposals: list[Proposal] = []
    while len(proposals) < n:
        left = _unexhausted(spaces, tried)
        if not left:
            break
        proposal = (
            _default(spaces, tried, defaults)
            or _drawn(history, left, tried, draw)
            or _random(left, tried, rng)
            or _listed(left, tried, rng)
        )
        if proposal is None:
            break
        tried.add((proposal.family, spaces[proposal.family].key(proposal.config)))
        proposals.append(proposal)
        history = with_open(history, proposal)
    return proposals


def with_open(history: History, proposal: Proposal) -> History:
    """The history as it will be once the proposal waits for a worker."""
    trial = Trial(history.next_number, proposal.family, proposal.config, TrialStatus.QUEUED, note=proposal.note)
    return replace(history, trials=(*history.trials, trial))


def _unexhausted(spaces: Mapping[str, Space], tried: Tried) -> dict[str, Space]:
    counts = Counter(family for family, _ in tried)
    left: dict[str, Space] = {}
    for family, space in spaces.items():
        # A configuration from outside the space (a reopened job) may have been counted: then look closely.
        if counts[family] < cardinality(space) or _listed({family: space}, tried, None) is not None:
            left[family] = space
    return left


def _default(spaces: Mapping[str, Space], tried: Tried, defaults: int | None) -> Proposal | None:
    for family, space in islice(spaces.items(), defaults):
        config = space.complete(space.defaults())
        if (family, space.key(config)) not in tried:
            return Proposal(family, config, "default")
    return None


def _drawn(history: History, spaces: Mapping[str, Space], tried: Tried, draw: Draw) -> Proposal | None:
    for attempt in range(ATTEMPTS):
        proposal = draw(history, spaces, attempt)
        if proposal is None:
            return None
        space = spaces[proposal.family]
        proposal = replace(proposal, config=space.complete(proposal.config))
        if (proposal.family, space.key(proposal.config)) not in tried:
            return proposal
    return None


def _random(spaces: Mapping[str, Space], tried: Tried, rng: np.random.Generator) -> Proposal | None:
    for _ in range(RANDOM_ATTEMPTS):
        proposal = random_proposal(spaces, rng)
        if (proposal.family, spaces[proposal.family].key(proposal.config)) not in tried:
            return proposal
    return None


def random_proposal(spaces: Mapping[str, Space], rng: np.random.Generator) -> Proposal:
    """A configuration drawn uniformly from a family drawn uniformly."""
    family = list(spaces)[int(rng.integers(len(spaces)))]
    return Proposal(family, spaces[family].sample(rng), "random")


def _listed(spaces: Mapping[str, Space], tried: Tried, rng: np.random.Generator | None) -> Proposal | None:
    """One of the first untried configurations in order; nearly everything has been tried when this is asked."""
    found = list(islice(_untried(spaces, tried), 1 if rng is None else 64))
    if not found:
        return None
    return found[0] if rng is None else found[int(rng.integers(len(found)))]


def _untried(spaces: Mapping[str, Space], tried: Tried) -> Iterator[Proposal]:
    for family, space in spaces.items():
        for config in configurations(space):
            if (family, space.key(config)) not in tried:
                yield Proposal(family, config, "what is left")
