"""Drawing from a generator: conditions, seeds, and what cannot be met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from assay.generation.draw import ConditionError, draw, records

COLUMNS = [
    {"name": "plan", "form": "word", "output": "plan", "decimals": None, "origin": "", "missing": True, "words": ["a", "b"]},
    {"name": "age", "form": "number", "output": "age", "decimals": 0, "origin": "", "missing": True},
    {"name": "since", "form": "date", "output": "since", "decimals": 0, "origin": "2024-02-28", "missing": True},
]  # fmt: skip
SPEC: dict[str, Any] = {
    "data": "rows", "inputs": {"uniform": {"name": "uniform", "width": 3}, "given": {"name": "given"}}, "columns": COLUMNS,
    "condition": {"column": "plan", "values": {"a": 0, "b": 1}}, "loop": None,
}  # fmt: skip


def run(names: Sequence[str], feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """A graph in miniature."""
    u, given = feeds["uniform"], feeds["given"]
    plan = np.where(given < 0, (u[:, 0] < 0.5).astype(int), given)
    age = np.where(u[:, 1:2] < 0.1, np.nan, np.round(100 * u[:, 1:2]))
    answers = {
        "plan": np.array(["a", "b"], object)[plan],
        "age": age.astype(np.float32),
        "since": np.floor(4 * u[:, 2:]),
    }
    return [answers[n] for n in names]


def test_a_condition_on_the_target_is_fed_and_others_are_waited_for() -> None:
    asked = {"plan": "b", "age": {"min": 20, "max": 30}, "since": "2024-02-29"}
    found = draw(run, SPEC, 100, 0, asked)
    assert (found["plan"] == "b").all() and (found["since"] == "2024-02-29 00:00:00").all()
    assert found["age"].min() >= 20 and found["age"].max() <= 30 and len(found["age"]) == 100


def test_a_missing_value_can_be_asked_for() -> None:
    assert np.isnan(draw(run, SPEC, 20, 0, {"age": None})["age"]).all()


def test_ten_of_a_hundred_are_those_of_ten_whatever_the_condition() -> None:
    for asked in ({}, {"plan": "a"}, {"age": 40}):
        few, many = draw(run, SPEC, 10, 5, asked), draw(run, SPEC, 100, 5, asked)
        np.testing.assert_array_equal(few["since"], many["since"][:10])
    assert len(draw(run, SPEC, 0, 0, {})["age"]) == 0


def test_records_hold_whole_numbers_and_none() -> None:
    rows = list(records(draw(run, SPEC, 50, 0, {}), COLUMNS))
    assert {type(r["age"]) for r in rows} == {int, type(None)}
    assert {r["since"] for r in rows} == {f"2024-0{d} 00:00:00" for d in ("2-28", "2-29", "3-01", "3-02")}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"plan": "c"}, "'plan' is never 'c'; known: 'a', 'b'"),
        ({"plam": "a"}, "'plam' is not a column of the samples; known: 'plan', 'age', 'since'"),
        ({"age": "old"}, "'age' holds numbers, not 'old'"),
        ({"age": {"least": 3}}, "a range of 'age' is"),
        ({"age": {"min": float("nan")}}, "needs a finite number"),
        ({"age": 1234}, "age = 1234 is too rare: 0 of"),
    ],
)
def test_what_cannot_be_met_is_said(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(ConditionError, match=told.replace("{", "\\{")):
        draw(run, SPEC, 5, 0, asked)
