"""Jobs over pictures: what is decided, which pictures judge, and the way from an archive to answers."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import assay
from assay.data.images.read import read_images
from assay.data.profile import profile
from assay.data.table import Table
from assay.errors import SpecError
from assay.spec import JobSpec, Resolved, learnt_rows, picture_side, resolve
from assay.tasks import discover
from assay.tasks.image_classification import image_size
from assay.testing.toy_image import toy_files

NAMES = ("disc", "lying bar", "standing bar")


def archive(path: Path, parts: dict[str, int], seed: int = 0) -> Path:
    with zipfile.ZipFile(path, "w") as out:
        for i, (part, n) in enumerate(parts.items()):
            files, y = toy_files(n, 3, seed=10 * seed + i)
            for j, (data, code) in enumerate(zip(files, y, strict=True)):
                out.writestr("/".join(p for p in (part, NAMES[code], f"{j}.png") if p), data)
    return path


def table_of(tmp_path: Path, parts: dict[str, int]) -> Table:
    return read_images(archive(tmp_path / "toy.zip", parts), file="toy.zip").table


def resolved(table: Table, **job: Any) -> Resolved:
    spec = JobSpec.from_json({"task": {"type": "image_classification"}, **job})
    return resolve(spec, profile(table))


def test_it_needs_no_target_and_says_what_it_decided(tmp_path: Path) -> None:
    found = resolved(table_of(tmp_path, {"train": 30, "test": 12}))
    assert (found.target, found.kind, found.metric, found.features) == ("label", "multiclass", "accuracy", ("image",))
    assert found.options["image_size"] == 16
    assert "test rows: the archive's own" in found.because
    assert {c for c, _ in found.left_out} == {"path", "split"}
    assert Resolved.from_json(found.to_json()) == found


def test_the_archives_own_parts_judge_and_choose(tmp_path: Path) -> None:
    table = table_of(tmp_path, {"train": 30, "val": 9, "test": 12})
    problem = discover()["image_classification"].prepare(table, resolved(table))
    split = table.words("split").values()
    assert (split[problem.folds.test] == "test").all() and len(problem.folds.test) == 12
    ((train, valid),) = problem.folds.pairs
    assert (split[train] == "train").all() and (split[valid] == "val").all() and len(valid) == 9


def test_without_parts_of_its_own_rows_are_drawn(tmp_path: Path) -> None:
    table = table_of(tmp_path, {"": 60})
    problem = discover()["image_classification"].prepare(table, resolved(table, limits={"time_seconds": 600}))
    assert problem.resolved.method == "cv" and len(problem.folds) == 4
    quick = resolved(table, limits={"time_seconds": 5})
    assert quick.method == "holdout"
    for train, valid in problem.folds.pairs:
        assert not set(problem.folds.test) & ({*train} | {*valid}) and not {*train} & {*valid}


def test_a_picture_of_the_test_part_is_not_learnt_from(tmp_path: Path) -> None:
    path = archive(tmp_path / "toy.zip", {"train": 30, "test": 12})
    with zipfile.ZipFile(path, "a") as out:
        out.writestr("train/disc/again.png", out.read("test/disc/0.png"))
    table = read_images(path, file="toy.zip").table
    problem = discover()["image_classification"].prepare(table, resolved(table))
    again = list(table.words("path").values()).index("train/disc/again.png")
    assert all(again not in part for pair in problem.folds.pairs for part in pair)
    assert "1 pictures with the same content" in problem.notes[-1]


@pytest.mark.parametrize(
    ("side", "n", "expected"),
    [(28, 5000, 28), (9, 100, 16), (100, 5000, 96), (640, 2000, 128), (640, 90_000, 32)],
)
def test_large_pictures_are_brought_to_what_memory_allows(side: int, n: int, expected: int) -> None:
    assert image_size(side, n) == expected


def test_tables_without_pictures_and_pictures_without_classes_are_refused(tmp_path: Path) -> None:
    table = table_of(tmp_path, {"": 30})
    with pytest.raises(SpecError, match="no pictures"):
        resolved(table.without(["image"]))
    with pytest.raises(SpecError, match="one folder for each class"):
        resolved(table.without(["label"]))
    with pytest.raises(SpecError, match="takes no group_column"):
        resolved(table, task={"type": "image_classification", "group_column": "path"})


def test_from_an_archive_to_answers_for_files_lists_and_zips(tmp_path: Path) -> None:
    path = archive(tmp_path / "toy.zip", {"train": 60, "test": 24})
    model = assay.fit(path, task="image_classification", families=["hog_linear"], trials=1)
    assert model.manifest.test_metrics["accuracy"] > 0.7
    assert model.manifest.input_schema[0]["front"]["kind"] == "image"
    files, y = toy_files(6, 3, seed=99)
    (tmp_path / "one.png").write_bytes(files[0])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as out:
        for i, data in enumerate(files):
            out.writestr(f"{i}.png", data)
    listed = model.predict(files)
    assert listed == model.predict(packed.getvalue()) == model.predict([{"image": f} for f in files])
    assert model.predict(files[0]) == model.predict(tmp_path / "one.png") == listed[:1]
    assert np.mean([a == NAMES[code] for a, code in zip(listed, y, strict=True)]) >= 0.5
    again = assay.load(model.save(tmp_path / "model.zip"))
    assert again.predict(files) == listed
    answers, warnings = model.answer([files[0], b"\x89PNG cut off"])
    assert sum(answers[0]["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)
    assert [(w.row, w.code) for w in warnings] == [(1, "unreadable_image")]


def test_pictures_of_a_test_part_do_not_decide_how_the_others_are_validated(tmp_path: Path) -> None:
    found = resolved(table_of(tmp_path, {"train": 40, "test": 200}), limits={"time_seconds": 10})
    assert found.method == "cv"  # 10 seconds for 40 pictures; for 240 one part would have to do
    assert learnt_rows(found.n_rows, found.options) == 40
    assert picture_side(found.options) == 16
