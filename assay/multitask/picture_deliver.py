"""From trials on pictures to one graph with the answer of every target.

Classes and numbers of the whole are the weighted mean of the trials that tell them best together, the mask is that of the
trial that segments best; both are chosen on the validation pictures, and what members share is written once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata as packages
from pathlib import Path
from typing import Any

import numpy as np

from assay.data.table import ColumnType
from assay.errors import AssayError, DataError
from assay.metrics.multitask import skills
from assay.model import checkpoint
from assay.model.bundle import write_bundle
from assay.model.compose import Delivered, combine, model_bytes
from assay.model.deliver import Built, Source, field_of
from assay.model.ensemble import resampled_weights
from assay.model.gate import raw_feeds
from assay.model.graph import Scope, dedupe
from assay.model.manifest import Manifest, Member
from assay.model.session import session_of
from assay.multitask.deliver import add_label_outputs
from assay.multitask.picture_trial import target_of
from assay.multitask.pictures import MaskTarget, PictureTarget, labels_of, parts, values
from assay.multitask.targets import spans
from assay.tasks._problem import Problem

CANDIDATES = 8  # best trials that are looked at
MEMBERS = 3  # that tell classes and numbers, at most
ATOL = 2e-4  # of probabilities and scaled numbers
PIXELS = 0.002  # share of the pixels whose class may differ: where two classes are nearly tied
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Trial:
    source: Source
    opened: checkpoint.Checkpoint

    @property
    def metrics(self) -> Mapping[str, float]:
        found: Mapping[str, float] = self.opened.info["metrics"]
        return found


@dataclass(frozen=True, eq=False)
class Choice:
    """tellers: trials with their weights for the whole picture; segmenter: of the mask."""

    tellers: tuple[tuple[Trial, float], ...]
    segmenter: Trial | None

    def mean(self, name: str, width: int) -> np.ndarray:
        return combine(
            [t.opened.array(name)[:, :width].astype(np.float64) for t, _ in self.tellers],
            [w for _, w in self.tellers],
            0,
        )

    def members(self) -> tuple[Member, ...]:
        """A trial's weight is its share in the targets' answers, where the mask counts as much as all others."""
        shares: dict[int, float] = {}
        parts_of = [*((t, w) for t, w in self.tellers), *([(self.segmenter, 1.0)] if self.segmenter else [])]
        for t, w in parts_of:
            shares[t.source.number] = shares.get(t.source.number, 0.0) + w
        families = {t.source.number: t.source.family for t, _ in parts_of}
        total = sum(shares.values())
        return tuple(Member(n, families[n], w / total) for n, w in sorted(shares.items()))


def deliver(
    problem: Problem, sources: Sequence[Source], folder: Path, *, ensemble: bool, info: Mapping[str, Any],
    formats: Mapping[str, Mapping[str, Any]],
) -> Built:  # fmt: skip
    """Write `model.onnx` and `model.zip`.

    Raises DataError when there is no readable checkpoint, AssayError when no graph answers like its nets.
    """
    trials = _opened(sources)
    if not trials:
        raise DataError("no completed trial has a readable checkpoint")
    message = ""
    # the best of every target first; where that is refused, or too large or slow, single trials in order
    choices = [_chosen(problem, trials)] if ensemble else []
    choices += [Choice(((t, 1.0),), t if target_of(problem).mask else None) for t in trials]
    passed: tuple[Any, ...] | None = None
    for choice in choices:
        onnx, names = composed(problem, choice, info)
        difference, message, ms = replay(problem, choice, onnx, names)
        if message:
            log.warning("the graph of trials %s is refused: %s", [m.trial for m in choice.members()], message)
            continue
        kept = not _over(info.get("limits") or {}, onnx, ms)
        if kept or passed is None:
            passed = choice, onnx, names, difference, ms, kept
        if kept:
            break
    if passed is None:
        raise AssayError(f"no trial's graph answers like its fitted net: {message}")
    return _package(problem, passed, folder, info, formats)


def composed(problem: Problem, choice: Choice, info: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    """The graph with the outputs of every target, and their names in it."""
    target = target_of(problem)
    scope = Scope()
    ends: dict[int, str] = {}
    for trial in {t.source.number: t for t in [*(t for t, _ in choice.tellers), choice.segmenter] if t}.values():
        ends[trial.source.number] = scope.include(trial.opened.graph)
    outputs: dict[str, str] = {}
    ports: dict[str, tuple[str, tuple[int | str | None, ...]]] = {}
    at = [scope.const(np.array([v], np.int64)) for v in (0, target.width, 1, 1 << 30)]
    terms = [
        scope.add("Mul", scope.add("Slice", ends[t.source.number], at[0], at[1], at[2]), scope.const(np.float32(w)))
        for t, w in choice.tellers
    ]
    whole = terms[0] if len(terms) == 1 else scope.add("Sum", *terms)
    places = iter(spans(target.labels))
    for i, head in enumerate(target.heads):
        if not isinstance(head, MaskTarget):
            add_label_outputs(scope, whole, i, head, next(places), outputs, ports)
            continue
        assert choice.segmenter is not None
        square = scope.add("Slice", ends[choice.segmenter.source.number], at[1], at[3], at[2])
        shape = scope.const(np.array([-1, len(head.classes), target.side, target.side], np.int64))
        best = scope.add("ArgMax", scope.add("Reshape", square, shape), axis=1, keepdims=0)
        outputs[f"mask_{i}"] = scope.add("Cast", best, to=2)
        ports[f"mask_{i}"] = ("uint8", ("N", target.side, target.side))
    graph = dedupe(scope.graph(next(iter(outputs.values()))), keep=outputs.values())
    types = {n: ColumnType(problem.features.types[n]) for n in problem.features.names}
    about = {"producer": "assay", "job": str(info.get("job_id", ""))}
    return model_bytes(Delivered(graph, outputs, (), ports), types, about, problem.fronts)


def replay(problem: Problem, choice: Choice, onnx: bytes, names: Mapping[str, str]) -> tuple[float, str, float]:
    """(largest difference, why the graph is refused or "", milliseconds a picture), on the gate's pictures."""
    target = target_of(problem)
    feeds = raw_feeds(problem.gate, problem.fronts)
    n = len(problem.gate)
    try:
        session = session_of(onnx)
        began = time.perf_counter()
        found = dict(zip(names, session.run(list(names.values()), feeds), strict=True))
        ms = 1000.0 * (time.perf_counter() - began) / n
        alone = dict(zip(names, session.run(list(names.values()), {k: v[:1] for k, v in feeds.items()}), strict=True))
    except Exception as error:  # the runtime refuses to load or to run it
        return float("inf"), f"{type(error).__name__}: {error}", 0.0
    told = choice.mean("gate", target.width)
    worst, why = 0.0, ""
    places = iter(spans(target.labels))
    for i, head in enumerate(target.heads):
        if isinstance(head, MaskTarget):
            assert choice.segmenter is not None
            mask = parts(choice.segmenter.opened.array("gate"), target)[1]
            assert mask is not None
            differ = max(float(np.mean(mask != found[f"mask_{i}"])), float(np.mean(mask[:1] != alone[f"mask_{i}"])))
            why = why or (f"{differ:.2%} of the pixels of {head.name!r} differ" if differ > PIXELS else "")
            continue
        expected = told[:, next(places)]
        name = f"probabilities_{i}" if head.classes else f"value_{i}"
        scale = 1.0 if head.classes else max(1.0, float(np.abs(expected).max()))
        differ = float(np.abs(expected - found[name]).max()) / scale
        differ = max(differ, float(np.abs(expected[:1] - alone[name]).max()) / scale)
        worst = max(worst, differ)
        why = why or (f"{head.name!r} differs by {differ:.1e}" if not differ <= ATOL else "")
    return worst, why, ms


def _opened(sources: Sequence[Source]) -> list[Trial]:
    found = []
    for source in sorted(sources, key=lambda s: (-s.score, s.number))[:CANDIDATES]:
        try:
            opened = checkpoint.load(source.path)
            opened.array("valid")
            found.append(Trial(source, opened))
        except (DataError, KeyError, OSError):
            log.exception("the checkpoint of trial %d cannot be read", source.number)
    return found


def _chosen(problem: Problem, trials: Sequence[Trial]) -> Choice:
    """By the validation pictures."""
    target = target_of(problem)
    segmenter = None
    if target.mask is not None:
        name = f"{target.mask.name}:skill"
        segmenter = max(trials, key=lambda t: t.metrics.get(name, float("-inf")))
    truth = labels_of(list(problem.y[problem.folds.pairs[0][1]]), target)

    def score(prediction: np.ndarray, rows: np.ndarray) -> float:
        told = skills(truth[rows], prediction)
        told = told[~np.isnan(told)]
        return float(told.mean()) if len(told) else 0.0

    rng = np.random.default_rng([problem.resolved.seed, 5])
    weights = resampled_weights([t.opened.array("valid") for t in trials], score, rng, max_members=MEMBERS)
    tellers = tuple((t, float(w)) for t, w in zip(trials, weights, strict=True) if w > 0)
    return Choice(tellers, segmenter)


def _over(limits: Mapping[str, Any], onnx: bytes, ms: float) -> bool:
    asked = ((limits.get("predict_ms_per_row"), ms), (limits.get("model_mb"), len(onnx) / 1e6))
    return any(limit and has > limit for limit, has in asked)


def _metrics(problem: Problem, choice: Choice, part: str, rows: np.ndarray) -> dict[str, float]:
    """Of the choice: those of the whole are told anew from the mean, the mask's are its trial's own."""
    target = target_of(problem)
    if not len(rows):
        return {}
    found = values(list(problem.y[rows]), choice.mean(part, target.width), None, target)
    if target.mask is not None and choice.segmenter is not None:
        told = choice.segmenter.opened.info["metrics" if part == "valid" else "test_metrics"]
        found |= {k: v for k, v in told.items() if k.startswith(f"{target.mask.name}:")}
    skilled = [found[k] for h in target.heads if (k := f"{h.name}:skill") in found]
    if skilled:
        found["multitask_score"], found["multitask_worst"] = float(np.mean(skilled)), float(np.min(skilled))
    return found


def _package(
    problem: Problem, passed: tuple[Any, ...], folder: Path, info: Mapping[str, Any],
    formats: Mapping[str, Mapping[str, Any]],
) -> Built:  # fmt: skip
    choice, onnx, names, difference, ms, kept = passed
    resolved, target = problem.resolved, target_of(problem)
    (train, valid), test = problem.folds.pairs[0], problem.folds.test
    metrics = _metrics(problem, choice, "valid", valid)
    score = problem.metric.to_score(metrics[resolved.metric])
    gate = {"rows": len(problem.gate), "max_difference": difference}
    told = [
        {**h.to_json(), "outputs": _outputs(i, h)} | ({"side": target.side} if isinstance(h, MaskTarget) else {})
        for i, h in enumerate(target.heads)
    ]
    schema = tuple(
        {**field_of(problem, n, formats.get(n, {})), "required": n in problem.fronts} for n in problem.features.names
    )
    limits = info.get("limits") or {}
    asked = ", ".join(f"{k} {limits[k]:g}" for k in ("predict_ms_per_row", "model_mb") if limits.get(k))
    manifest = Manifest(
        name=str(info.get("name", "model")),
        kind=resolved.kind,
        task=resolved.task,
        target=resolved.target,
        metric=resolved.metric,
        created_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        input_schema=schema,
        outputs=dict(names),
        classes=(),
        metrics=metrics,
        test_metrics=_metrics(problem, choice, "test", test),
        members=choice.members(),
        fronts={n: f.about for n, f in problem.fronts.items()},
        versions={p: packages.version(p) for p in ("numpy", "onnxruntime", "onnx")},
        info={
            "job_id": info.get("job_id", ""),
            "score": score,
            "score_std": 0.0,
            "rows": {
                "train": len(train), "validation": len(valid), "test": len(test), "without_target": problem.left_out,
            },
            "validation": {"method": resolved.method, "folds": 1},
            "gate": gate,
            "predict_ms_per_row": ms,
            "targets": told,
        }
        | ({} if kept else {"limits_missed": f"no completed trial keeps the limits ({asked}); this is the best one"}),
    )  # fmt: skip
    (folder / "model.onnx").write_bytes(onnx)
    write_bundle(folder / "model.zip", onnx, manifest)
    return Built("model.zip", "model.onnx", manifest.to_json(), score, gate)


def _outputs(i: int, head: Any) -> list[str]:
    if isinstance(head, MaskTarget):
        return [f"mask_{i}"]
    return [f"label_{i}", f"probabilities_{i}"] if head.classes else [f"value_{i}"]


__all__ = ["PictureTarget", "deliver"]
