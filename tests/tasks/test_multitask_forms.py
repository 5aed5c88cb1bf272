"""Several targets of pictures and of texts: what is asked is checked, told and prepared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from assay.data.profile import profile
from assay.data.table import Table
from assay.errors import SpecError
from assay.multitask.pictures import MaskTarget, PictureTarget
from assay.multitask.texts import PAIR, RANKING, SIMILARITY, SINGLE, TextTarget, ranked
from assay.spec import JobSpec, Resolved, resolve
from assay.tasks.multitask import task
from assay.testing.scenes import scenes_table
from assay.testing.shapes import shapes_table
from assay.testing.toy_multitask_texts import pairs_table

TEXT_TARGETS = ["mood", "topic", "alike", "same"]


@pytest.fixture(scope="module")
def scenes() -> Table:
    return scenes_table(40, side=40)


@pytest.fixture(scope="module")
def pairs() -> Table:
    return pairs_table(160)


def resolved(table: Table, **asked: Any) -> Resolved:
    families = asked.pop("families", None)
    spec = {"task": {"type": "multitask", **asked}, "search": {"families": families}}
    return resolve(JobSpec.from_json(spec), profile(table))


def test_an_archive_says_its_targets_and_what_lies_beside(scenes: Table) -> None:
    found = resolved(scenes)
    assert [(t["name"], t["kind"]) for t in found.options["targets"]] == [
        ("label", "multiclass"),
        ("mask", "segmentation"),
    ]
    assert found.features == ("image", "weight", "hint") and set(found.families) == {"mmd_net", "mmd_net_alone"}
    assert Resolved.from_json(found.to_json()) == found
    problem = task.prepare(scenes, found)
    assert isinstance(problem.target, PictureTarget)
    assert problem.target.mask == MaskTarget("mask", ("background", "thing"))
    rows = list(problem.y)
    assert any(r.mask is None for r in rows) and any(np.isnan(r.labels).any() for r in rows)
    assert len(rows) == len(scenes) - 2, "only pictures with neither label nor mask are left out"


def test_outlines_are_masks_too() -> None:
    table = shapes_table(24, side=(40, 48))
    plain = table.without(["mask", "mask_classes"])
    sizes = np.arange(24, dtype=np.float64) * 1.5
    table = Table({**plain.columns, "size": sizes}, {**plain.types, "size": "number"})  # type: ignore[dict-item]
    found = resolved(table, targets=["size", "mask"])
    problem = task.prepare(table, found)
    assert isinstance(problem.target, PictureTarget) and problem.target.mask is not None
    assert problem.target.mask.classes == ("background", "box", "disc")


@pytest.mark.parametrize(
    ("asked", "pointer", "told"),
    [
        ({"targets": ["label"]}, "/task/targets", "two targets or more"),
        ({"targets": ["label", "msk"]}, "/task/targets/1", "closest: 'mask'"),
        ({"targets": ["label", "path"]}, "/task/targets/1", "nothing that could be told"),
        ({"targets": ["mask", {"name": "label", "kind": "similarity"}]}, "/task/targets/1/kind", "needs numbers"),
        ({"targets": [{"name": "mask", "kind": "regression"}, "label"]}, "/task/targets/0/kind", "segmentation"),
        ({"targets": ["label", {"name": "mask", "colums": ["a"]}]}, "/task/targets/1/colums", "known: name, kind"),
        ({"group_column": "hint"}, "/task/group_column", "leave it out"),
        ({"families": ["hard_sharing"]}, "/search/families/0", "the dataset holds pictures"),
        ({"families": ["mmd_ne"]}, "/search/families/0", "closest: 'mmd_net'"),
    ],
)
def test_what_cannot_be_done_with_pictures_is_refused(
    scenes: Table, asked: dict[str, Any], pointer: str, told: str
) -> None:
    with pytest.raises(SpecError, match=told) as caught:
        resolved(scenes, **asked)
    assert caught.value.pointer == pointer


def test_targets_of_texts_read_what_their_rows_have(pairs: Table) -> None:
    found = resolved(pairs, targets=TEXT_TARGETS)
    assert set(found.families) == {"mt_dnn", "mt_dnn_alone", "tfidf_independent"} and found.features == (
        "first",
        "second",
    )
    assert Resolved.from_json(found.to_json()) == found
    problem = task.prepare(pairs, found)
    assert isinstance(problem.target, TextTarget)
    ways = [(r.way, r.columns) for r in problem.target.reads]
    assert ways[2:] == [(SIMILARITY, (0, 1)), (PAIR, (0, 1))]
    described = resolved(
        pairs, targets=["mood", {"name": "topic", "columns": ["first"]}, {"name": "same", "kind": "ranking"}]
    )
    problem = task.prepare(pairs, described)
    assert isinstance(problem.target, TextTarget)
    assert [r.way for r in problem.target.reads][1:] == [SINGLE, RANKING]
    assert problem.target.reads[1].columns == (0,)


@pytest.mark.parametrize(
    ("asked", "pointer", "told"),
    [
        ({"targets": ["mood", {"name": "topic", "kind": "ranking"}]}, "/task/targets/1/kind", "two values"),
        (
            {"targets": ["mood", {"name": "same", "kind": "ranking", "columns": ["first"]}]},
            "/task/targets/1/columns",
            "two columns",
        ),
        (
            {"targets": ["mood", {"name": "same", "columns": ["third"]}]},
            "/task/targets/1/columns/0",
            "'first', 'second'",
        ),
        ({"targets": ["mood", {"name": "same", "kind": "rank"}]}, "/task/targets/1/kind", "known: auto"),
        ({"targets": ["mood", {"name": "mood"}]}, "/task/targets/1", "twice"),
        ({"targets": TEXT_TARGETS, "families": ["mt_dnn", "mmoe"]}, "/search/families/1", "reads texts"),
        (
            {"targets": ["mood", {"name": "same", "columns": ["first"]}], "families": ["mmoe"]},
            "/task/targets/1",
            "mt_dnn",
        ),
    ],
)
def test_what_cannot_be_done_with_texts_is_refused(
    pairs: Table, asked: dict[str, Any], pointer: str, told: str
) -> None:
    with pytest.raises(SpecError, match=told) as caught:
        resolved(pairs, **asked)
    assert caught.value.pointer == pointer


def test_candidates_are_ranked_within_their_question() -> None:
    truth, scores = np.array([1, 0, 0, 1, 1]), np.array([0.2, 0.9, 0.1, 0.8, 0.9])
    found = ranked(truth, scores, np.array([0, 0, 1, 1, 2]))
    assert found == {"mrr": 0.75, "top1": 0.5}, "a question of good ones alone tells nothing"
