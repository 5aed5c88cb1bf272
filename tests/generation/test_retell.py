"""The target of drawn rows told anew: the tie to the other columns is mended, a condition is kept."""

from __future__ import annotations

import math

import numpy as np

from assay.data.table import ColumnType, Table, Words
from assay.generation.columns import fit_rows
from assay.generation.compose import compose_rows, session
from assay.generation.draw import draw
from assay.generation.parts import DrawnParts, Inputs, Rows
from assay.generation.retell import fit_retelling
from assay.testing.context import ToyContext
from search_spaces.generative import gaussian_copula

N = 500


def table() -> Table:
    """A class that two numbers settle only together, as no correlation tells."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, N))
    columns = {"a": a, "b": b, "same": Words.of([("no", "yes")[int(t)] for t in a * b > 0])}
    kinds = (ColumnType.NUMBER, ColumnType.NUMBER, ColumnType.CATEGORY)
    return Table(columns, dict(zip(columns, kinds, strict=True)))


def right(samples: dict[str, np.ndarray]) -> float:
    return float(((samples["a"] * samples["b"] > 0) == (samples["same"] == "yes")).mean())


def test_what_a_copula_cannot_tie_together_is_tied_and_a_condition_is_kept() -> None:
    coder = fit_rows(table(), "same")
    data = Rows(coder.layout, coder.encode(table()), coder.encode(table()))
    generator = gaussian_copula.family.fit(gaussian_copula.CopulaConfig(), data, ToyContext())
    plain = compose_rows(coder, generator)
    mended = compose_rows(coder, generator, fit_retelling(coder, table()))
    loose, tied = (draw(session(c.encoded()), c.spec, 400, 0, {}) for c in (plain, mended))
    assert right(loose) < 0.65 and right(tied) > 0.85
    np.testing.assert_array_equal(loose["a"], tied["a"])
    asked = draw(session(mended.encoded()), mended.spec, 50, 0, {"same": "yes"})
    assert set(asked["same"]) == {"yes"}


def test_a_number_is_told_anew_from_a_generator_that_ignores_the_rest() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=N)
    columns = {"a": a, "y": 3 * a + 0.3 * rng.normal(size=N)}
    rows = Table(columns, dict.fromkeys(columns, ColumnType.NUMBER))
    coder = fit_rows(rows, "y")

    class Loose:
        noise, uniform = 2, 0

        def bits(self, data: object) -> float:
            return math.nan

        def emit(self, inputs: Inputs) -> DrawnParts:
            return DrawnParts((), inputs.noise)

    composed = compose_rows(coder, Loose(), fit_retelling(coder, rows))
    made = draw(session(composed.encoded()), composed.spec, 400, 0, {})
    assert np.corrcoef(made["a"], made["y"])[0, 1] > 0.95


def test_without_a_target_or_other_columns_there_is_nothing_to_tell() -> None:
    assert fit_retelling(fit_rows(table()), table()) is None
    alone = table().select(["same"])
    assert fit_retelling(fit_rows(alone, "same"), alone) is None
