"""Crossover and mutation of configurations in mixed, conditional spaces."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from assay.space import Space, Value, Values

MUTATIONS = 1.5  # expected per child
RANDOM_GENE = 0.05  # share of genes drawn anew, against the loss of values from the population
MUTATION_STEP = 0.12  # standard deviation on the unit scale


def cross(space: Space, a: Mapping[str, Value], b: Mapping[str, Value], rng: np.random.Generator) -> Values:
    """Every gene from either parent with equal chance; a gene that does not count in a parent comes from the other."""
    in_a, in_b = set(space.active(a)), set(space.active(b))
    child: Values = {}
    for d in space:
        from_b = rng.random() < 0.5 if (d.name in in_a) == (d.name in in_b) else d.name in in_b
        child[d.name] = (b if from_b else a)[d.name]
    return space.complete(child)


def mutate(space: Space, values: Mapping[str, Value], rng: np.random.Generator, strength: float = 1.0) -> Values:
    """About 1.5 * strength genes that count take a step, or another choice; one in twenty is drawn anew."""
    child = dict(values)
    rate = min(0.9, MUTATIONS * strength / max(2, len(space.active(values))))
    for d in space:
        if d.name not in space.active(child):
            continue
        if rng.random() < RANDOM_GENE:
            child[d.name] = d.domain.from_unit(float(rng.random()))
        elif rng.random() < rate:
            child[d.name] = space.mutate(d.name, child[d.name], rng, min(1.0, MUTATION_STEP * strength))
    return space.complete(child)
