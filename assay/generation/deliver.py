"""From checkpoints to a delivered generator: the best trial whose graph draws what its trial drew, judged on the test part."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata as packages
from pathlib import Path
from typing import Any

import numpy as np

from assay.errors import AssayError, DataError, TrialError
from assay.generation.compose import Composed, session
from assay.generation.draw import draw
from assay.generation.evaluate import SEED, as_numbers, judged
from assay.generation.refit import refit
from assay.generation.stage import stage_of, whole_stage
from assay.model import checkpoint
from assay.model.bundle import write_bundle
from assay.model.deliver import Built, Source
from assay.model.manifest import Manifest, Member
from assay.tasks._problem import Problem

TRIED = 5  # best trials tried before a job is given up
ATOL = 1e-4  # of numbers drawn again, relative to their size
log = logging.getLogger(__name__)


def deliver(
    problem: Problem, sources: Sequence[Source], folder: Path, info: Mapping[str, Any], seconds: float
) -> Built:
    """Write `model.onnx` and `model.zip`.  Samples of several generators cannot be averaged: the best one is delivered,
    trained on all rows if the seconds that are left allow it.

    Raises DataError when there is no readable checkpoint, AssayError when no graph draws what its trial drew.
    """
    began = time.monotonic()
    told = "no completed trial has a readable checkpoint"
    for source in sorted(sources, key=lambda s: (-s.score, s.number))[:TRIED]:
        try:
            opened = checkpoint.load(source.path)
        except (DataError, OSError):
            log.exception("the checkpoint of trial %d cannot be read", source.number)
            continue
        composed = Composed.from_json(opened.graph, opened.info["generator"])
        onnx = composed.encoded({"producer": "assay", "job": str(info.get("job_id", ""))})
        difference = replay(onnx, composed, opened)
        if difference is None:
            whole = refit(problem, source.family, opened, seconds - (time.monotonic() - began))
            if whole is not None:
                composed, onnx = whole, whole.encoded({"producer": "assay", "job": str(info.get("job_id", ""))})
            return _package(problem, source, opened, composed, onnx, folder, info, whole is not None)
        told = f"the graph of trial {source.number} does not draw what it drew in its trial: {difference}"
        log.warning(told)
    if told.startswith("no completed"):
        raise DataError(told)
    raise AssayError(told)


def replay(onnx: bytes, composed: Composed, opened: checkpoint.Checkpoint) -> str | None:
    """Draw the trial's gate samples again; None when they are the same."""
    wanted = {k.removeprefix("gate/"): v for k, v in opened.arrays.items() if k.startswith("gate/")}
    n = len(next(iter(wanted.values())))
    found = as_numbers(draw(session(onnx), composed.spec, n, 1, {}))
    for name, values in wanted.items():
        again = found[name].astype(np.float64)
        if not np.allclose(again, values, ATOL, ATOL, equal_nan=True):
            worst = float(np.nanmax(np.abs(again - values)))
            return f"{name!r} differs by up to {worst:.3g}"
    return None


def _package(
    problem: Problem,
    source: Source,
    opened: checkpoint.Checkpoint,
    composed: Composed,
    onnx: bytes,
    folder: Path,
    info: Mapping[str, Any],
    on_all: bool,
) -> Built:
    resolved = problem.resolved
    now = datetime.now(UTC)
    train, valid = problem.folds.pairs[0]
    n_train = len(train) + (len(valid) if on_all else 0)
    gate = {"samples": len(next(iter(opened.arrays.values()))), "max_difference": 0.0}
    manifest = Manifest(
        name=str(info.get("name", "model")),
        kind=resolved.kind,
        task=resolved.task,
        target=resolved.target,
        metric=resolved.metric,
        created_at=now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        input_schema=(),
        outputs={name: name for name in composed.outputs},
        metrics=opened.info["metrics"],
        test_metrics=_tested(problem, composed, onnx, on_all),
        members=(Member(source.number, source.family, 1.0),),
        versions={p: packages.version(p) for p in ("numpy", "onnxruntime", "onnx")},
        info={
            "job_id": info.get("job_id", ""),
            "score": source.score,
            "score_std": 0.0,
            "rows": {"train": n_train, "test": len(problem.folds.test)},
            "validation": {"method": resolved.method, "folds": len(problem.folds)},
            "gate": gate,
            "trained_on_all_rows": on_all,
            "generation": dict(composed.spec),
        },
    )
    (folder / "model.onnx").write_bytes(onnx)
    write_bundle(folder / "model.zip", onnx, manifest)
    return Built("model.zip", "model.onnx", manifest.to_json(), source.score, gate)


def _tested(problem: Problem, composed: Composed, onnx: bytes, on_all: bool) -> dict[str, float]:
    """Metrics against the rows no trial saw; none when they are too few or say nothing."""
    if len(problem.folds.test) < 10:
        return {}
    stage = whole_stage(problem) if on_all else stage_of(problem, 0)
    judge = stage.before(problem, problem.folds.test)
    samples = draw(session(onnx), composed.spec, stage.n_samples(composed), SEED + 1, {})
    try:
        return judged(problem, judge.real, judge.made(samples, float("nan")))
    except TrialError:
        log.exception("the delivered generator does not pass on the test part")
        return {}
