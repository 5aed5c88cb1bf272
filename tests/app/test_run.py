"""`assay run`: what the options ask the service for."""

from __future__ import annotations

from typing import Any

import pytest

from app.cli import TASKS, parser
from app.run import missing, request_of
from assay.tasks import discover


def asked(*options: str, columns: tuple[str, ...] = ()) -> dict[str, Any]:
    args = parser().parse_args(["run", "data.csv", *options])
    assert missing(args) is None
    return dict(request_of(args, "ds_1", args.task, columns)["task"])


def test_every_kind_of_problem_that_the_service_knows_is_offered_and_told() -> None:
    assert sorted(TASKS) == sorted(discover())
    told = next(a for a in parser()._actions if a.choices).choices["run"].format_help()  # type: ignore[index,union-attr]
    assert all(f"{name} " in told and about in told for name, about in TASKS.items())


@pytest.mark.parametrize(
    ("options", "task"),
    [
        ("--target price --task regression", {"type": "regression", "target": "price"}),
        ("--task clustering", {"type": "clustering"}),
        ("--task image_classification", {"type": "image_classification"}),
        ("--task text_classification --target stars", {"type": "text_classification", "target": "stars"}),
        (
            "--task forecasting --target sold --time-column day --group-column shop --horizon 14",
            {"type": "forecasting", "target": "sold", "time_column": "day", "group_column": "shop", "horizon": 14},
        ),
        ("--task forecasting --target a,b", {"type": "forecasting", "targets": ["a", "b"]}),
        ("--task multitask --target one", {"type": "multitask", "targets": ["one"]}),
        ("--task classification --target x --ignore id,day", {"type": "classification", "target": "x", "ignore_columns": ["id", "day"]}),
        ("--task generation --target kind", {"type": "generation", "target": "kind"}),
    ],
)  # fmt: skip
def test_options_become_the_task(options: str, task: dict[str, Any]) -> None:
    assert asked(*options.split()) == task


def test_a_column_whose_name_has_a_comma_is_one_column() -> None:
    assert asked("--task", "regression", "--target", "a,b", columns=("a,b", "c"))["target"] == "a,b"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("", "--target"),
        ("--task forecasting", "needs the column"),
        ("--task regression --target y --horizon 3", "--horizon belongs"),
    ],
)
def test_what_is_missing_is_told_before_anything_is_sent(options: str, told: str) -> None:
    problem = missing(parser().parse_args(["run", "data.csv", *options.split()]))
    assert problem is not None and told in problem
