"""What detection and segmentation decide before anything is trained."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from assay.data.profile import profile
from assay.data.table import ColumnType, Table, Words
from assay.errors import SpecError
from assay.spec import JobSpec, Resolved, resolve
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


def test_nets_from_random_weights_wait_for_longer_jobs_where_there_are_pretrained_ones() -> None:
    short, long = (set(resolved_of(s).families) for s in (60, 600))
    if "pretrained_fcos" in long:
        assert long - short == {"fcos", "detr"}
        assert any("fcos" in b and "left out" in b for b in resolved_of(60).because)
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
