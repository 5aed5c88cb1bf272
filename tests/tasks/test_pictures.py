"""What detection and segmentation decide before anything is trained."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from assay.data.join import stacked
from assay.data.profile import profile
from assay.data.table import ColumnType, Table, Words
from assay.errors import SpecError
from assay.spec import JobSpec, Resolved, resolve, with_parts
from assay.tasks import _pictures as pictures
from assay.tasks import discover as tasks
from assay.tasks._problem import Problem
from assay.testing.shapes import shapes_table
from assay.training.evaluate import whole_rows


def spec(seconds: float = 600, **validation: object) -> JobSpec:
    return JobSpec.from_json(
        {"task": {"type": "object_detection"}, "limits": {"time_seconds": seconds}, "validation": validation}
    )


def resolved_of(seconds: float, **validation: object) -> Resolved:
    return resolve(spec(seconds, **validation), profile(shapes_table(30)))


def with_column(table: Table, name: str, values: list[str], kind: ColumnType) -> Table:
    return Table({**table.columns, name: Words.of(values)}, {**table.types, name: kind})


def problem_of(table: Table) -> Problem:
    resolved = resolve(spec(), profile(table))
    return tasks()["object_detection"].prepare(table, replace(resolved, options={**resolved.options, "side": 64}))


def test_pictures_without_any_annotated_thing_are_refused() -> None:
    table = with_column(shapes_table(30), "boxes", ["[]"] * 30, ColumnType.TEXT)
    with pytest.raises(SpecError, match="no picture has anything annotated"):
        resolve(spec(), profile(table))


def test_time_is_kept_for_nets_of_all_pictures_unless_it_is_short_or_unwished() -> None:
    assert resolved_of(600).options["refit_share"] > 0
    assert resolved_of(60).options["refit_share"] == 0
    assert resolved_of(600, refit=False).options["refit_share"] == 0


@pytest.mark.parametrize("seconds", [60, 600])
def test_nets_that_need_long_to_learn_wait_for_longer_jobs_where_there_are_pretrained_ones(seconds: float) -> None:
    short, long = (set(resolved_of(s).families) for s in (seconds, 3600))
    if "pretrained_fcos" in long:
        assert long - short == {"fcos", "detr", "pretrained_detr"}
        assert any("fcos" in b and "left out" in b for b in resolved_of(seconds).because)
    else:
        assert short == long == {"fcos", "detr"}


@pytest.mark.parametrize(("share", "side"), [(0.3, 192), (0.02, 256)])
def test_large_things_are_looked_at_in_a_smaller_square(share: float, side: int) -> None:
    resolved = resolved_of(600)
    assert resolved.options["side"] == 256
    assert pictures.sized(resolved, np.full(50, share)).options["side"] == side
    assert pictures.sized(resolved, np.zeros(0)).options["side"] == 256


def test_nothing_learns_from_a_test_split_of_the_archive() -> None:
    table = shapes_table(40)
    assert len(whole_rows(problem_of(table))) == 40
    split = ["test" if i % 4 == 0 else "train" for i in range(40)]
    problem = problem_of(with_column(table, "split", split, ColumnType.CATEGORY))
    assert sorted(problem.folds.test) == list(range(0, 40, 4))
    assert sorted(whole_rows(problem)) == [i for i in range(40) if i % 4]
    assert json.dumps(problem.resolved.to_json())


def divided(tables: list[Table], task: str, column: str, **counts: int | None) -> Problem:
    """The problem of a job whose user gave the tables after the first as its parts."""
    asked = JobSpec.from_json({"task": {"type": task, "target": column}, "limits": {"time_seconds": 600}})
    resolved = with_parts(resolve(asked, profile(tables[0])), len(tables[0]), counts["validation"], counts["test"])
    read = [c for c in tables[0].names if c in ("image", column, *resolved.options.get("reads", ()))]
    table = stacked(
        [tables[0].select(read), *tables[1:]], ["the dataset", "a given part", "a given part"][: len(tables)]
    )
    return tasks()[task].prepare(table, replace(resolved, options={**resolved.options, "side": 64}))


@pytest.mark.parametrize(("task", "column"), [("object_detection", "boxes"), ("segmentation", "mask")])
def test_the_users_own_datasets_validate_and_test(task: str, column: str) -> None:
    own = [shapes_table(20), shapes_table(12, seed=1), shapes_table(11, seed=2)]
    problem = divided(own, task, column, validation=12, test=11)
    ((train, valid),) = problem.folds.pairs
    assert [train.tolist(), valid.tolist()] == [list(range(20)), list(range(20, 32))]
    assert problem.folds.test.tolist() == list(range(32, 43))
    assert problem.resolved.options.get("refit_share", 0.0) == 0.0  # nothing ever learns from what was set apart
    assert any("12 rows of the validation dataset" in b for b in problem.resolved.because)
    tested = divided([own[0], own[2]], task, column, validation=None, test=11)
    ((train, valid),) = tested.folds.pairs
    assert tested.folds.test.tolist() == list(range(20, 31))
    assert sorted([*train, *valid]) == list(range(20)) and len(valid) == 5


def test_pictures_of_the_users_own_datasets_are_not_learned_from() -> None:
    own = shapes_table(20)
    problem = divided([own, own.take(np.arange(4))], "object_detection", "boxes", validation=4, test=None)
    ((train, valid),) = problem.folds.pairs
    assert train.tolist() == list(range(4, 20)) and valid.tolist() == list(range(20, 24))
    assert any("4 training pictures are not learned from" in n for n in problem.notes)


def test_classes_of_masks_are_known_by_their_names() -> None:
    first, second = shapes_table(20), shapes_table(10, seed=1)
    other = with_column(
        second, "mask_classes", [json.dumps(["background", "disc", "box", "star"])] * 10, ColumnType.TEXT
    )
    problem = divided([first, other], "segmentation", "mask", validation=10, test=None)
    plain = divided([first, second], "segmentation", "mask", validation=10, test=None)
    assert plain.classes == ("background", "box", "disc") and problem.classes == (*plain.classes, "star")
    swapped = np.array([0, 2, 1, *range(3, 256)])
    for a, b in zip(problem.y[20:], plain.y[20:], strict=True):
        np.testing.assert_array_equal(a, swapped[b])
