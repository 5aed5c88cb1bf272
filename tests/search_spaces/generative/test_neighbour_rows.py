"""Rows around their neighbours: where the data lie, with the combinations they have, and none of them again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from assay.data.table import ColumnType, Table, Words
from assay.generation.columns import RowCoder, fit_rows
from assay.generation.compose import compose_rows, session
from assay.generation.draw import draw
from assay.generation.parts import Rows
from assay.testing.context import ToyContext
from search_spaces.generative.neighbour_rows import MOST_ROWS, NeighbourConfig, family

N = 400


def ring(n: int = N) -> Table:
    """Points near a circle, a word that tells which half they are in, and a number that only one half has."""
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, n)
    a, b = (f(angle) + 0.03 * rng.normal(size=n) for f in (np.cos, np.sin))
    half = np.where(b > 0, "upper", "lower")
    only = np.where(b > 0, angle, np.nan)
    number, word = ColumnType.NUMBER, ColumnType.CATEGORY
    return Table(
        {"half": Words.of(half), "a": a, "b": b, "only": only}, {"half": word, "a": number, "b": number, "only": number}
    )


def made(table: Table, n: int, condition: dict[str, Any], **config: Any) -> dict[str, np.ndarray]:
    coder: RowCoder = fit_rows(table, "half")
    parts = coder.encode(table)
    generator = family.fit(NeighbourConfig(**config), Rows(coder.layout, parts, parts), ToyContext(seed=0))
    composed = compose_rows(coder, generator)
    return draw(session(composed.encoded()), composed.spec, n, 1, condition)


@pytest.mark.parametrize("donors", [1, 3])
def test_draws_follow_a_bent_manifold_and_are_new(donors: int) -> None:
    table = ring()
    rows = made(table, 500, {}, donors=donors)
    radius = np.hypot(rows["a"], rows["b"])
    assert np.median(np.abs(radius - 1)) < 0.06
    upper = rows["half"] == "upper"
    assert (np.isnan(rows["only"]) == ~upper).mean() > 0.97
    assert ((rows["b"] > 0) == upper).mean() > 0.97
    assert 0.4 < upper.mean() < 0.6
    gaps = np.abs(rows["a"][:, None] - table.numbers("a")) + np.abs(rows["b"][:, None] - table.numbers("b"))
    assert (gaps.min(1) < 1e-6).mean() < 0.01


def test_a_condition_is_kept_and_drawn_from_rows_that_meet_it() -> None:
    rows = made(ring(), 200, {"half": "upper"})
    assert set(rows["half"]) == {"upper"}
    assert (rows["b"] > -0.1).mean() > 0.97


def test_one_donor_keeps_combinations_that_many_would_mix() -> None:
    rng = np.random.default_rng(0)
    group = rng.integers(0, 60, N)
    codes = rng.integers(0, 4, (60, 6))
    names = [f"w{j}" for j in range(6)]
    columns = {n: Words.of([str(v) for v in codes[group, j]]) for j, n in enumerate(names)}
    table = Table(
        {"half": Words.of(np.where(group % 2, "x", "y")), **columns},
        dict.fromkeys(["half", *names], ColumnType.CATEGORY),
    )
    known = set(map(tuple, codes.astype(str)))

    def kept(donors: int) -> float:
        rows = made(table, 400, {}, donors=donors, neighbours=12)
        return float(np.mean([tuple(r) in known for r in np.stack([rows[n] for n in names], 1)]))

    assert kept(1) > 0.99
    assert kept(4) < kept(1)


def test_the_graph_of_many_rows_holds_some_of_them() -> None:
    table = ring(MOST_ROWS + 500)
    coder = fit_rows(table, "half")
    parts = coder.encode(table)
    generator = family.fit(NeighbourConfig(), Rows(coder.layout, parts, parts), ToyContext(seed=0))
    assert len(generator.codes) == MOST_ROWS
