"""Rows drawn from several generators by one graph."""

from __future__ import annotations

import numpy as np

from assay.data.table import ColumnType, Table, Words
from assay.generation.blend import blend
from assay.generation.columns import fit_rows
from assay.generation.compose import Composed, compose_rows, session
from assay.generation.draw import draw
from assay.generation.parts import Rows
from assay.testing.context import ToyContext
from search_spaces.generative import gaussian_copula, gaussian_mixture_rows

N = 300


def table(shift: float) -> Table:
    rng = np.random.default_rng(0)
    columns = {"a": rng.normal(size=N) + shift, "kind": Words.of([("no", "yes")[int(t)] for t in rng.random(N) < 0.3])}
    return Table(columns, {"a": ColumnType.NUMBER, "kind": ColumnType.CATEGORY})


def composed(shift: float, module: object) -> Composed:
    coder = fit_rows(table(shift), "kind")
    data = Rows(coder.layout, coder.encode(table(shift)), coder.encode(table(shift)))
    family = module.family  # type: ignore[attr-defined]
    return compose_rows(coder, family.fit(family.Config(), data, ToyContext()))


def rows(found: Composed, n: int, condition: dict[str, str]) -> dict[str, np.ndarray]:
    return draw(session(found.encoded()), found.spec, n, 3, condition)


def test_each_row_is_of_one_part_and_all_parts_are_drawn_alike_often() -> None:
    parts = [composed(0.0, gaussian_copula), composed(100.0, gaussian_mixture_rows), composed(200.0, gaussian_copula)]
    both = blend(parts)
    made = rows(both, 900, {})
    which = np.round(made["a"] / 100).astype(int)
    np.testing.assert_allclose(np.bincount(which) / 900, 1 / 3, atol=0.06)
    assert np.abs(made["a"] - 100 * which).max() < 6
    assert 0.2 < (made["kind"] == "yes").mean() < 0.4
    np.testing.assert_array_equal(rows(both, 40, {})["a"], made["a"][:40])


def test_a_condition_reaches_every_part() -> None:
    both = blend([composed(0.0, gaussian_mixture_rows), composed(100.0, gaussian_copula)])
    made = rows(both, 200, {"kind": "yes"})
    assert set(made["kind"]) == {"yes"} and set(np.round(made["a"] / 100)) == {0.0, 1.0}


def test_one_part_comes_back_as_it_is() -> None:
    alone = composed(0.0, gaussian_copula)
    assert blend([alone]) is alone
