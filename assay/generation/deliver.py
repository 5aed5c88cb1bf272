"""From checkpoints to a delivered generator: of rows a blend of the best trials, as far as blending helps; judged on the
test part."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata as packages
from pathlib import Path
from typing import Any

import numpy as np

from assay.errors import AssayError, DataError, TrialError
from assay.generation.blend import blend
from assay.generation.compose import Composed, session
from assay.generation.copying import copied
from assay.generation.draw import draw
from assay.generation.evaluate import SEED, as_numbers, drawn, judged, merit_of, score_of
from assay.generation.refit import SHARE, refit, seconds_of
from assay.generation.stage import ROWS, stage_of, whole_stage
from assay.model import checkpoint
from assay.model.bundle import write_bundle
from assay.model.deliver import Built, Source
from assay.model.manifest import Manifest, Member
from assay.tasks._problem import Problem

TRIED = 5  # best trials tried before a job is given up
MEMBERS = 4  # of a blend, at most
OF_FAMILY = 2  # members of one family, at most: different ones err differently
LOOKING = 0.3  # share of the seconds that looking for a trial that copies nothing may take
BLENDING = 0.2  # share that choosing a blend may take
ATOL = 1e-4  # of numbers drawn again, relative to their size
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Drawing:
    """A trial whose graph draws what it drew in the trial."""

    source: Source
    opened: checkpoint.Checkpoint
    composed: Composed


@dataclass(frozen=True, eq=False)
class Chosen:
    """What is delivered, of which trials, with its metrics on the validation rows."""

    members: tuple[Drawing, ...]
    composed: Composed
    metrics: Mapping[str, float]
    score: float

    @property
    def fits(self) -> list[tuple[str, checkpoint.Checkpoint]]:
        return [(m.source.family, m.opened) for m in self.members]


def deliver(
    problem: Problem, sources: Sequence[Source], folder: Path, info: Mapping[str, Any], seconds: float,
    ensemble: bool = False,
) -> Built:  # fmt: skip
    """Write `model.onnx` and `model.zip`.  What is delivered is trained on all rows if the seconds that are left allow it.
    ensemble: rows may be drawn from several trials' generators.

    Raises DataError when there is no readable checkpoint, AssayError when no graph draws what its trial drew.
    """
    began = time.monotonic()
    until = began + seconds
    ranked = _ranked(sources)
    first = _first(problem, ranked, began + LOOKING * seconds)
    chosen = Chosen((first,), first.composed, first.opened.info["metrics"], first.source.score)
    if ensemble and problem.resolved.kind == ROWS and time.monotonic() < began + LOOKING * seconds:
        chosen = _blended(problem, chosen, ranked, time.monotonic() + BLENDING * seconds)
    chosen = _affordable(problem, chosen, until - time.monotonic())
    whole = refit(problem, chosen.fits, chosen.composed, until - time.monotonic())
    composed = chosen.composed if whole is None else whole
    tested = _tested(problem, composed, whole is not None)
    learned = len(problem.folds.pairs[0][0]) + (len(problem.folds.pairs[0][1]) if whole is not None else 0)
    if whole is not None and problem.resolved.refit and len(problem.folds.test):
        everything = refit(problem, chosen.fits, chosen.composed, until - time.monotonic(), test=True)
        if everything is not None:
            composed, learned = everything, learned + len(problem.folds.test)
    onnx = composed.encoded({"producer": "assay", "job": str(info.get("job_id", ""))})
    return _package(problem, chosen, composed, onnx, folder, info, tested, learned, whole is not None)


def _ranked(sources: Sequence[Source]) -> list[Source]:
    """Best first by their merit, see `assay.generation.evaluate.merit_of`; those that cannot be read last, by score."""

    def key(source: Source) -> tuple[float, float, int]:
        try:
            merit = float(checkpoint.load(source.path).info["fit"]["merit"])
        except (DataError, OSError, KeyError):
            merit = -math.inf
        return -merit, -source.score, source.number

    return sorted(sources, key=key)


def _first(problem: Problem, ranked: Sequence[Source], until: float) -> Drawing:
    """The best trial that can be delivered and copies no rows; of those that do, as far as there is time to look, the one
    with the fewest copies.  Raises as `deliver` does."""
    told = "no completed trial has a readable checkpoint"
    copying: list[tuple[float, int, Drawing]] = []
    for source in ranked[:TRIED]:
        if copying and time.monotonic() > until:
            break
        found = _opened(source)
        if isinstance(found, Drawing):
            share, are_copies = copied(stage_of(problem, 0), found.composed)
            if not are_copies:
                return found
            log.warning("%.1f %% of what trial %d draws are copies of rows", 100 * share, source.number)
            copying.append((share, len(copying), found))
        else:
            told = found or told
    if copying:
        return min(copying, key=lambda c: c[:2])[2]
    if told.startswith("no completed"):
        raise DataError(told)
    raise AssayError(told)


def _opened(source: Source) -> Drawing | str:
    """The trial, or why it cannot be delivered: "" for a checkpoint that cannot be read."""
    try:
        opened = checkpoint.load(source.path)
    except (DataError, OSError):
        log.exception("the checkpoint of trial %d cannot be read", source.number)
        return ""
    composed = Composed.from_json(opened.graph, opened.info["generator"])
    difference = replay(composed.encoded(), composed, opened)
    if difference is None:
        return Drawing(source, opened, composed)
    told = f"the graph of trial {source.number} does not draw what it drew in its trial: {difference}"
    log.warning(told)
    return told


def _blended(problem: Problem, best: Chosen, ranked: Sequence[Source], until: float) -> Chosen:
    """The best trial alone, or with the next ones in order, whichever the validation rows like best.

    All are judged on samples that chose no trial: the best of many is the luckiest, too.
    """
    stage = stage_of(problem, 0)
    members: tuple[Drawing, ...] = ()
    samples: list[Mapping[str, np.ndarray]] = []
    found: tuple[float, Chosen] | None = None
    for source in _varied(ranked, best.members[0].source):
        if len(members) == MEMBERS or (found is not None and time.monotonic() > until):
            break
        opened = best.members[0] if not members else _opened(source)
        if not isinstance(opened, Drawing):
            continue
        composed = opened.composed
        if members and copied(stage, composed)[1]:
            continue
        members = (*members, opened)
        samples.append(draw(session(composed.encoded()), composed.spec, stage.n_samples(composed), SEED + 2, {}))
        try:
            values = judged(problem, stage.judge.real, stage.judge.made(_mixed(samples), float("nan")))
        except TrialError as error:
            log.warning("a blend of %d is not delivered: %s", len(members), error)
            continue
        merit = merit_of(problem, [values], [stage])
        if found is None or merit > found[0]:
            whole = blend([m.composed for m in members])
            found = merit, Chosen(members, whole, values, score_of(problem, values))
    if found is None or len(found[1].members) == 1:
        return best
    return found[1]


def _varied(ranked: Sequence[Source], first: Source) -> list[Source]:
    """The first trial, then the best of every other family, then the rest; few of each family."""
    order = [first, *(s for s in ranked if s.number != first.number)]
    place: dict[str, int] = {}
    found: list[tuple[int, int, Source]] = []
    for i, source in enumerate(order):
        nth = place[source.family] = place.get(source.family, -1) + 1
        if nth < OF_FAMILY:
            found.append((nth, i, source))
    return [source for _, _, source in sorted(found, key=lambda f: f[:2])]


def _mixed(samples: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Rows in turn from each, as a blend of them would be."""
    n = min(len(v) for s in samples for v in s.values())
    which = np.arange(n) % len(samples)
    found = {}
    for name in samples[0]:
        values = samples[0][name][:n].copy()
        for i, other in enumerate(samples):
            values[which == i] = other[name][:n][which == i]
        found[name] = values
    return found


def _affordable(problem: Problem, chosen: Chosen, seconds: float) -> Chosen:
    """Without the members that keep all from being trained again in time; as it is if that is every one."""
    members = list(chosen.members)

    def over(some: Sequence[Drawing]) -> bool:
        return seconds_of(problem, [(m.source.family, m.opened) for m in some]) > SHARE * seconds

    while len(members) > 1 and over(members):
        members.remove(max(members, key=lambda m: float(m.opened.info["fit"]["seconds"])))
    if len(members) == len(chosen.members) or over(members):
        return chosen
    composed = blend([m.composed for m in members])
    stage = stage_of(problem, 0)
    try:
        made = stage.judge.made(drawn(composed, stage.n_samples(composed)), float("nan"))
        values = judged(problem, stage.judge.real, made)
    except TrialError:
        return chosen
    return Chosen(tuple(members), composed, values, score_of(problem, values))


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
    chosen: Chosen,
    composed: Composed,
    onnx: bytes,
    folder: Path,
    info: Mapping[str, Any],
    tested: Mapping[str, float],
    learned: int,
    on_all: bool,
) -> Built:
    """tested: metrics on the test part.  learned: rows it was trained on."""
    resolved = problem.resolved
    now = datetime.now(UTC)
    gate = {"samples": len(next(iter(chosen.members[0].opened.arrays.values()))), "max_difference": 0.0}
    manifest = Manifest(
        name=str(info.get("name", "model")),
        kind=resolved.kind,
        task=resolved.task,
        target=resolved.target,
        metric=resolved.metric,
        created_at=now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        input_schema=(),
        outputs={name: name for name in composed.outputs},
        metrics=dict(chosen.metrics),
        test_metrics=dict(tested),
        members=tuple(
            Member(m.source.number, m.source.family, 1.0 / len(chosen.members))
            for m in sorted(chosen.members, key=lambda m: m.source.number)
        ),
        versions={p: packages.version(p) for p in ("numpy", "onnxruntime", "onnx")},
        info={
            "job_id": info.get("job_id", ""),
            "score": chosen.score,
            "score_std": 0.0,
            "rows": {"train": learned, "test": len(problem.folds.test)},
            "validation": {"method": resolved.method, "folds": len(problem.folds)},
            "gate": gate,
            "trained_on_all_rows": on_all,
            "generation": dict(composed.spec),
        },
    )
    (folder / "model.onnx").write_bytes(onnx)
    write_bundle(folder / "model.zip", onnx, manifest)
    return Built("model.zip", "model.onnx", manifest.to_json(), chosen.score, gate)


def _tested(problem: Problem, composed: Composed, on_all: bool) -> dict[str, float]:
    """Metrics against the rows no trial saw; none when they are too few or say nothing."""
    if len(problem.folds.test) < 10:
        return {}
    stage = whole_stage(problem) if on_all else stage_of(problem, 0)
    judge = stage.before(problem, problem.folds.test)
    samples = draw(session(composed.encoded()), composed.spec, stage.n_samples(composed), SEED + 1, {})
    try:
        return judged(problem, judge.real, judge.made(samples, float("nan")))
    except TrialError:
        log.exception("the delivered generator does not pass on the test part")
        return {}
