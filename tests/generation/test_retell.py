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


class Loose:
    """Draws numbers independently of each other, and states the same."""

    uniform = 0

    def __init__(self, numbers: int = 2, states: int = 0) -> None:
        self.noise, self.states = numbers, states

    def bits(self, data: object) -> float:
        return math.nan

    def emit(self, inputs: Inputs) -> DrawnParts:
        s = inputs.scope
        first = s.add("Slice", inputs.noise, s.const([0]), s.const([1]), s.const([1]))
        code = s.add("Cast", s.add("Squeeze", s.add("Less", first, s.const(np.float32(0))), s.const([1])), to=7)
        return DrawnParts((code,) * self.states, inputs.noise)


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

    composed = compose_rows(coder, Loose(), fit_retelling(coder, rows))
    made = draw(session(composed.encoded()), composed.spec, 400, 0, {})
    assert np.corrcoef(made["a"], made["y"])[0, 1] > 0.95


def earnings(n: int = N) -> Table:
    """A straight line in its own unit, a long tail above it, in hundredths; a fifth of the rows has round numbers."""
    rng = np.random.default_rng(2)
    a = rng.uniform(0, 10, n)
    y = np.round(5 + a + rng.lognormal(0.0, 1.2, n) - np.exp(0.72), 2)
    y = np.where(rng.random(n) < 0.3, np.maximum(4.0, 4 * np.round(y / 4)), np.maximum(y, 1.0))
    columns = {"a": a, "y": y}
    return Table(columns, dict.fromkeys(columns, ColumnType.NUMBER))


def test_what_a_long_tailed_number_is_on_the_mean_is_right_in_its_own_unit_and_common_values_stay_common() -> None:
    rows = earnings()
    coder = fit_rows(rows, "y")
    assert len(coder.columns[0].atoms) and coder.columns[0].knots is not None
    retelling = fit_retelling(coder, rows)
    assert retelling is not None and retelling.own is not None
    composed = compose_rows(coder, Loose(len(coder.score_of), len(coder.code_of)), retelling)
    made = draw(session(composed.encoded()), composed.spec, 4000, 0, {})
    real_a, real_y, a, y = rows.numbers("a"), rows.numbers("y"), made["a"].ravel(), made["y"].ravel()
    for low, high in ((0, 3.3), (3.3, 6.7), (6.7, 10)):
        real = real_y[(real_a >= low) & (real_a < high)]
        drawn = y[(a >= low) & (a < high)]
        assert abs(drawn.mean() - real.mean()) < 2.5 * real.std() / math.sqrt(len(real))
    common = coder.columns[0].atoms
    shares = [float(np.isin(np.round(v, 2), np.round(common, 2)).mean()) for v in (real_y, y)]
    assert abs(shares[0] - shares[1]) < 0.08
    assert real_y.min() - 1e-4 <= y.min() and y.max() <= real_y.max() + 1e-4


def test_a_number_with_no_common_values_stays_in_its_range_on_its_grid() -> None:
    rng = np.random.default_rng(3)
    a = rng.normal(size=N)
    real = np.asarray(np.round(np.exp(a + 0.5 * rng.normal(size=N)), 1))
    rows = Table({"a": a, "y": real}, dict.fromkeys(("a", "y"), ColumnType.NUMBER))
    coder = fit_rows(rows, "y")
    retelling = fit_retelling(coder, rows)
    assert retelling is not None and retelling.own is not None
    composed = compose_rows(coder, Loose(len(coder.score_of), len(coder.code_of)), retelling)
    y = draw(session(composed.encoded()), composed.spec, 2000, 0, {})["y"].ravel()
    assert y.min() >= real.min() - 1e-6 and y.max() <= real.max() + 1e-4
    np.testing.assert_allclose(y, np.round(y, 1), atol=1e-5)


def test_a_number_that_is_mostly_one_value_or_missing_is_told_by_its_state_first() -> None:
    rng = np.random.default_rng(4)
    a = rng.normal(size=N)
    for y in (np.where(a > 0, np.exp(a), 0.0), np.where(rng.random(N) < 0.1, np.nan, a)):
        columns = {"a": a, "y": y}
        rows = Table(columns, dict.fromkeys(columns, ColumnType.NUMBER))
        found = fit_retelling(fit_rows(rows, "y"), rows)
        assert found is not None and found.own is None and found.code is not None and found.score is not None


def test_without_a_target_or_other_columns_there_is_nothing_to_tell() -> None:
    assert fit_retelling(fit_rows(table()), table()) is None
    alone = table().select(["same"])
    assert fit_retelling(fit_rows(alone, "same"), alone) is None
