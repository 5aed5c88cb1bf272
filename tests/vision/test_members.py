"""Nets that answer as one, and nets of all pictures."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from assay.data.profile import profile
from assay.families import discover, space_of
from assay.model.deliver import Built, Source
from assay.model.predict import load
from assay.spec import JobSpec, resolve
from assay.tasks import discover as tasks
from assay.tasks._problem import Problem
from assay.testing.shapes import shapes_table
from assay.training.evaluate import Matrices, Request
from assay.vision.deliver import deliver
from assay.vision.evaluate import evaluate

SIDE = 64


def problem_of(task: str, n: int = 16) -> Problem:
    table = shapes_table(n).without(["mask", "mask_classes"] if task == "object_detection" else ["boxes"])
    resolved = resolve(JobSpec.from_json({"task": {"type": task}}), profile(table))
    return tasks()[task].prepare(table, replace(resolved, options={"side": SIDE, "refit_share": 0.4}))


def trials(problem: Problem, folder: Path, family: str, *changes: dict[str, Any]) -> list[Source]:
    """Trained for 30 epochs each, of one seed after the other."""
    found = []
    for i, change in enumerate(changes):
        made = discover()[family]
        config = {**space_of(made).defaults(), "epochs": 30, **change}
        path = folder / f"{i}.safetensors"
        done = evaluate(Matrices(problem), Request(made, config, seed=i, path=path))
        found.append(Source(i, family, done.score, path))
    return found


def delivered(problem: Problem, sources: list[Source], folder: Path, ensemble: bool = True) -> Built:
    told = {"job_id": "", "name": "model", "threads": 1, "counted": True}
    return deliver(problem, sources, folder, told, 600.0, ensemble)


@pytest.mark.parametrize(
    ("task", "family"), [("object_detection", "fcos"), ("segmentation", "unet")], ids=["boxes", "masks"]
)
def test_a_final_build_adds_other_trials_and_a_net_of_all_pictures(tmp_path: Path, task: str, family: str) -> None:
    problem = problem_of(task)
    sources = trials(problem, tmp_path, family, {}, {})
    first = delivered(problem, sources, tmp_path, ensemble=False).manifest
    assert [m["weight"] for m in first["members"]] == [1.0]
    assert first["info"]["of_all_pictures"] == 0
    last = delivered(problem, sources, tmp_path).manifest
    assert last["info"]["of_all_pictures"] == 1
    assert sum(m["weight"] for m in last["members"]) == pytest.approx(1.0)
    best = max(sources, key=lambda s: s.score)
    assert last["members"][0]["trial"] == best.number
    if len(last["members"]) == 1:  # then nothing is told but of the trial that was measured
        assert last["metrics"] == first["metrics"]
    model = load(tmp_path / "model.zip")
    assert len(model.answer([{"image": problem.gate.blobs("image")[0]}])[0]) == 1


def test_nets_of_all_pictures_are_not_made_where_the_user_says_so_or_time_is_short(tmp_path: Path) -> None:
    problem = problem_of("segmentation")
    sources = trials(problem, tmp_path, "unet", {})
    kept = replace(problem, resolved=replace(problem.resolved, refit=False))
    assert delivered(kept, sources, tmp_path).manifest["info"]["of_all_pictures"] == 0
    told = {"job_id": "", "name": "model", "threads": 1, "counted": False}
    assert deliver(problem, sources, tmp_path, told, 2.0, True).manifest["info"]["of_all_pictures"] == 0


def test_nets_of_other_places_stay_apart(tmp_path: Path) -> None:
    from assay.vision.deliver import opened
    from assay.vision.members import gridded, joined

    problem = problem_of("object_detection")
    nets = []
    for family in ("fcos", "detr"):
        folder = tmp_path / family
        folder.mkdir()
        (source,) = trials(problem, folder, family, {})
        nets.append(opened(source))
    fcos, detr = (n for n in nets if n is not None)
    assert gridded(problem, fcos.gate.shape[1])
    assert not gridded(problem, detr.gate.shape[1])
    assert joined(problem, [fcos, detr], seconds=100.0, ms=1.0).nets == (fcos,)
    assert joined(problem, [detr, detr], seconds=100.0, ms=1.0).nets == (detr,)
    made = delivered(problem, [detr.source], tmp_path)  # nor do nets of all pictures answer beside such a net
    assert made.manifest["info"]["of_all_pictures"] == 0 and len(made.manifest["members"]) == 1


def test_the_mean_of_a_net_with_itself_is_itself(tmp_path: Path) -> None:
    from assay.vision.deliver import opened
    from assay.vision.members import _asked, joined

    problem = problem_of("object_detection")
    (source,) = trials(problem, tmp_path, "fcos", {})
    net = opened(source)
    assert net is not None
    team = joined(problem, [net, net], seconds=100.0, ms=1.0)
    assert len(team.nets) == 2
    assert team.score == pytest.approx(source.score)
    assert team.metrics == pytest.approx(net.opened.info["metrics"])
    assert team.test_metrics == pytest.approx(net.opened.info["test_metrics"], nan_ok=True)
    assert np.isfinite(_asked(problem, net, problem.folds.test)).all()
    assert len(joined(problem, [net, net], seconds=0.001, ms=1.0).nets) == 1  # there is no time to ask


def test_pictures_that_there_is_no_time_to_test_on_are_not_tested_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from assay.vision import evaluate as module

    late, asked, judged = [0.0], [], module.judged

    def slow(problem: Problem, predictor: Any, x: np.ndarray, rows: np.ndarray) -> dict[str, float]:
        late[0] += 40.0 * len(rows)
        asked.append(len(rows))
        return judged(problem, predictor, x, rows)

    clock = SimpleNamespace(
        monotonic=lambda: time.monotonic() + late[0], perf_counter=lambda: time.perf_counter() + late[0]
    )
    monkeypatch.setattr(module, "judged", slow)
    monkeypatch.setattr(module, "time", clock)
    problem = problem_of("segmentation")
    valid, test = len(problem.folds.pairs[0][1]), len(problem.folds.test)
    made = discover()["unet"]
    path = tmp_path / "0.safetensors"
    config = {**space_of(made).defaults(), "epochs": 30}
    seconds = 40.0 * (valid + 1) + 39.0  # one picture of the test part can be asked for
    done = evaluate(Matrices(problem), Request(made, config, seed=0, path=path, seconds=seconds))
    assert test > 1
    assert asked == [valid, 1]
    built = delivered(problem, [Source(0, "unet", done.score, path)], tmp_path, ensemble=False)
    assert built.manifest["info"]["rows"]["test"] == 1
