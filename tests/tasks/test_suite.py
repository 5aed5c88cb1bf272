"""The shipped suite over every task type there is: a new file is found and checked."""

from __future__ import annotations

import numpy as np
import pytest

from assay.data.table import ColumnType, Table, Words
from assay.errors import DataError, SpecError
from assay.spec import JobSpec, resolve
from assay.tasks import discover
from assay.tasks.classification import order_classes
from assay.testing.tasks import TaskSuite, facts_of

N = 200


def toy_table(kind: str) -> tuple[Table, str]:
    """A table with a number, a category and a target of a kind."""
    rng = np.random.default_rng(0)
    x, town = rng.normal(size=N), rng.integers(0, 3, N)
    z = x + town + rng.normal(size=N) * 0.3
    target: Words | np.ndarray = z
    type_ = ColumnType.NUMBER
    if kind != "regression":
        cuts = [1.0] if kind == "binary" else [0.5, 1.5]
        target, type_ = Words.of([f"c{c}" for c in np.digitize(z, cuts)]), ColumnType.CATEGORY
    columns = {"x": x, "town": Words.of([f"t{t}" for t in town]), "y": target}
    return Table(columns, {"x": ColumnType.NUMBER, "town": ColumnType.CATEGORY, "y": type_}), "y"


OTHERS = {"image_classification", "sequence_classification"}  # they read no plain table and have tests of their own
CASES = [
    (task, kind)
    for name, task in discover().items()
    for kind in task.kinds
    if kind in ("binary", "multiclass", "regression") and name not in OTHERS
]


@pytest.fixture(params=CASES, ids=[f"{t.name}-{k}" for t, k in CASES], scope="class")
def case(request: pytest.FixtureRequest) -> None:
    request.cls.task, kind = request.param
    request.cls.table = lambda self: toy_table(kind)


@pytest.mark.usefixtures("case")
class TestEveryTask(TaskSuite):
    pass


def test_labels_are_ordered_as_people_would() -> None:
    assert order_classes(["10", "9", "-1"], None) == ["-1", "9", "10"]
    assert order_classes(["yes", "no"], None) == ["no", "yes"]
    assert order_classes(["yes", "no"], "no") == ["yes", "no"]
    with pytest.raises(SpecError, match="closest: 'yes'"):
        order_classes(["yes", "no"], "yess")


def test_a_negative_weight_is_refused_with_its_row() -> None:
    table, _ = toy_table("regression")
    weight = np.ones(N)
    weight[6] = -1
    table = Table({**table.columns, "w": weight}, {**table.types, "w": ColumnType.NUMBER})
    spec = JobSpec.from_json({"task": {"type": "regression", "target": "y", "weight_column": "w"}})
    resolved = resolve(spec, facts_of(table))
    with pytest.raises(DataError) as caught:
        discover()["regression"].prepare(table, resolved)
    assert (caught.value.row, caught.value.column) == (7, "w")


def test_groups_stay_together_and_too_few_are_told() -> None:
    table, _ = toy_table("regression")
    table = Table(
        {**table.columns, "g": Words.of(["a", "b", "c", "d"] * (N // 4))}, {**table.types, "g": ColumnType.CATEGORY}
    )
    spec = JobSpec.from_json(
        {
            "task": {"type": "regression", "target": "y", "group_column": "g"},
            "validation": {"test_fraction": 0, "folds": 6},
        }
    )
    problem = discover()["regression"].prepare(table, resolve(spec, facts_of(table)))
    assert len(problem.folds) == 4
    assert "4 folds instead of 6" in problem.notes[0]
