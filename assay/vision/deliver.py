"""From checkpoints to a delivered detector or segmenter: the best trials' nets, and nets of all pictures, as one graph."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib import metadata as packages
from pathlib import Path
from typing import Any

import numpy as np

from assay.data.table import ColumnType
from assay.errors import AssayError, DataError
from assay.model import checkpoint
from assay.model.bundle import write_bundle
from assay.model.compose import Delivered, model_bytes
from assay.model.deliver import Built, Source
from assay.model.gate import raw_feeds
from assay.model.graph import Graph, Scope
from assay.model.manifest import Manifest, Member
from assay.model.session import session_of
from assay.spec import refit_share
from assay.tasks._problem import Problem
from assay.vision.decode import Decoder, unlike
from assay.vision.members import CANDIDATES, Net, Team, alone, gridded, joined, mean_graph
from assay.vision.refit import Whole, wholes

TRIED = 5  # best trials tried before a job is given up
JOINING = 0.4  # share of the seconds left that may be spent on choosing who answers together, where nets of all pictures follow,
PACKING = 2.0  # and else the seconds that are left to write the model down, and a little of what a build may be late
ATOL = 1e-3  # of the scores, shares of the side and probabilities that a graph answers
PIXELS = 0.002  # share of the pixels whose class may differ: where two classes are nearly tied
log = logging.getLogger(__name__)


def deliver(
    problem: Problem, sources: Sequence[Source], folder: Path, info: Mapping[str, Any], seconds: float, ensemble: bool
) -> Built:
    """Write `model.onnx` and `model.zip`: the best trial's net, and as an ensemble together with others: those of the next
    trials where the validation pictures like that, and nets trained on all pictures.

    seconds: that there are.  info["threads"]: that may train; info["counted"]: trials, not seconds, are the budget.
    Raises DataError when there is no readable checkpoint, AssayError when no graph answers like its net.
    """
    until = time.monotonic() + seconds
    limits = info.get("limits") or {}
    ranked = sorted(sources, key=lambda s: (-s.score, s.number))
    told = "no completed trial has a readable checkpoint"
    fallback: Callable[[], Built] | None = None
    for i, source in enumerate(ranked[:TRIED]):
        net = opened(source)
        if net is None:
            continue
        began = time.monotonic()
        made = composed(problem, alone(net), (), info)
        took = time.monotonic() - began
        if isinstance(made, str):
            told = f"the graph of trial {source.number} does not answer like its net: {made}"
            log.warning(told)
            continue
        if _over(limits, made):
            asked = ", ".join(f"{k} {limits[k]:g}" for k in ("predict_ms_per_row", "model_mb") if limits.get(k))
            missed = f"no completed trial keeps the limits ({asked}); this is the best one"
            fallback = fallback or partial(_package, problem, made, folder, info, missed)
            continue
        if ensemble:
            made = _larger(problem, net, made, ranked[i + 1 :], info, until, took)
        return _package(problem, made, folder, info, "")
    if fallback is not None:
        return fallback()
    raise DataError(told) if told.startswith("no completed") else AssayError(told)


@dataclass(frozen=True, eq=False)
class Composed:
    """A graph that answers like its nets.  wholes: how many of them learned from all pictures; difference, ms: of the replay."""

    team: Team
    wholes: int
    onnx: bytes
    names: Mapping[str, str]
    difference: float
    ms: float


def opened(source: Source) -> Net | None:
    """None for a checkpoint that cannot be read."""
    try:
        found = checkpoint.load(source.path)
        return Net(source, found, found.array("gate"))
    except (DataError, KeyError, OSError):
        log.exception("the checkpoint of trial %d cannot be read", source.number)
        return None


def composed(problem: Problem, team: Team, more: Sequence[Whole], info: Mapping[str, Any]) -> Composed | str:
    """The team and nets of all pictures as one graph, or why it does not answer like them."""
    types = {n: ColumnType(problem.features.types[n]) for n in problem.features.names}
    about = {"producer": "assay", "job": str(info.get("job_id", ""))}
    graph = mean_graph([*(n.opened.graph for n in team.nets), *(w.graph for w in more)])
    onnx, names = model_bytes(delivered(problem, graph), types, about, problem.fronts)
    gate = np.mean([*(n.gate for n in team.nets), *(w.gate for w in more)], axis=0)
    difference, message, ms = replay(problem, onnx, names, gate)
    return message or Composed(team, len(more), onnx, names, difference, ms)


def _larger(
    problem: Problem,
    net: Net,
    best: Composed,
    others: Sequence[Source],
    info: Mapping[str, Any],
    until: float,
    took: float,
) -> Composed:
    """The best net with others, as far as time and limits allow.  took: seconds of composing the best one."""
    if not gridded(problem, net.gate.shape[1]):  # its places are its own: nobody else's answers mean the same there
        return best
    limits, counted = info.get("limits") or {}, bool(info.get("counted"))
    found = [n for n in map(opened, others[:CANDIDATES]) if n is not None]
    left = until - time.monotonic()
    spare = JOINING * left if refit_share(problem.resolved.options) else left - PACKING
    team = joined(problem, [net, *found], float("inf") if counted else spare, best.ms, took)
    more = wholes(problem, team.nets, until - time.monotonic(), 1 if counted else int(info.get("threads", 1)), counted)
    for nets, learned in ((team, more), (team, []), (alone(net), more)):
        if len(nets.nets) + len(learned) == 1:
            continue
        made = composed(problem, nets, learned, info)
        if isinstance(made, str):
            log.warning("several nets as one graph do not answer like themselves: %s", made)
        elif not _over(limits, made):
            return made
    return best


def delivered(problem: Problem, graph: Graph) -> Delivered:
    """The graph with its last step: boxes, or the most probable class of every pixel."""
    scope = Scope()
    answer = scope.include(graph)
    classes, side = len(problem.classes), int(problem.resolved.options["side"])
    outputs: dict[str, str]
    ports: dict[str, tuple[str, tuple[int | str | None, ...]]]
    if problem.resolved.kind == "detection":
        boxes, scores, labels = Decoder(classes, side).emit(scope, answer)
        outputs = {"boxes": boxes, "scores": scores, "labels": labels}
        ports = {
            "boxes": ("float32", ("N", "M", 4)),
            "scores": ("float32", ("N", "M")),
            "labels": ("int64", ("N", "M")),
        }
    else:
        shape = scope.const(np.array([-1, classes, side, side], np.int64))
        probabilities = scope.add("Reshape", answer, shape)
        mask = scope.add("Cast", scope.add("ArgMax", probabilities, axis=1, keepdims=0), to=2)
        outputs, ports = {"mask": mask}, {"mask": ("uint8", ("N", side, side))}
    return Delivered(scope.graph(next(iter(outputs.values()))), outputs, problem.classes, ports)


def replay(problem: Problem, onnx: bytes, names: Mapping[str, str], gate: np.ndarray) -> tuple[float, str, float]:
    """(largest difference, why the graph is refused or "", milliseconds a picture), on the gate's pictures."""
    from assay.vision.evaluate import decoded

    feeds = raw_feeds(problem.gate, problem.fronts)
    side = next(iter(feeds.values())).shape[1]
    try:
        session = session_of(onnx)
        began = time.perf_counter()
        found = dict(zip(names, session.run(list(names.values()), feeds), strict=True))
        ms = 1000.0 * (time.perf_counter() - began) / len(gate)
        alone = session.run(list(names.values()), {k: v[:1] for k, v in feeds.items()})
    except Exception as error:  # the runtime refuses to load or to run it
        return float("inf"), f"{type(error).__name__}: {error}", 0.0
    expected = decoded(gate, len(problem.classes), side, problem.resolved.kind)
    if problem.resolved.kind == "detection":
        missed = unlike(expected, found["boxes"], found["scores"], found["labels"], side)
        missed += unlike(expected[:1], alone[0], alone[1], alone[2], side)
        clear = sum(int((f.scores > 0.05).sum()) for f in expected)
        top = max(
            (
                abs(float(f.scores[0]) - float(s[0]))
                for f, s in zip(expected, found["scores"], strict=True)
                if len(f.scores)
            ),
            default=0.0,
        )
        refused = missed > 0.01 * clear or top > ATOL
        return top, f"{missed} of {clear} boxes differ, a score by {top:.1e}" if refused else "", ms
    differ = float(np.mean([np.mean(e != f) for e, f in zip(expected, found["mask"], strict=True)]))
    differ = max(differ, float(np.mean(expected[0] != alone[0][0])))
    return differ, f"{differ:.2%} of the pixels differ" if differ > PIXELS else "", ms


def _over(limits: Mapping[str, Any], made: Composed) -> bool:
    asked = ((limits.get("predict_ms_per_row"), made.ms), (limits.get("model_mb"), len(made.onnx) / 1e6))
    return any(limit and has > limit for limit, has in asked)


def _package(problem: Problem, made: Composed, folder: Path, info: Mapping[str, Any], missed: str) -> Built:
    resolved, team = problem.resolved, made.team
    gate = {"rows": len(problem.gate), "max_difference": made.difference}
    train, valid = problem.folds.pairs[0]
    front = problem.fronts["image"]
    field = {
        "name": "image",
        "type": "image",
        "required": True,
        "example": None,
        "format": {},
        "front": front.to_json(),
    }
    manifest = Manifest(
        name=str(info.get("name", "model")),
        kind=resolved.kind,
        task=resolved.task,
        target=resolved.target,
        metric=resolved.metric,
        created_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        input_schema=(field,),
        outputs=dict(made.names),
        classes=problem.classes,
        metrics=team.metrics,
        test_metrics=team.test_metrics,
        members=tuple(Member(n.source.number, n.source.family, 1.0 / len(team.nets)) for n in team.nets),
        fronts={"image": front.about},
        versions={p: packages.version(p) for p in ("numpy", "onnxruntime", "onnx")},
        info={
            "job_id": info.get("job_id", ""),
            "score": team.score,
            "score_std": 0.0,
            "rows": {
                "train": len(train),
                "validation": len(valid),
                "test": team.tested,
                "without_target": problem.left_out,
            },
            "validation": {"method": resolved.method, "folds": 1},
            "gate": gate,
            "predict_ms_per_row": made.ms,
            "of_all_pictures": made.wholes,
            "side": front.shape[0],
        }
        | ({"limits_missed": missed} if missed else {}),
    )
    (folder / "model.onnx").write_bytes(made.onnx)
    write_bundle(folder / "model.zip", made.onnx, manifest)
    return Built("model.zip", "model.onnx", manifest.to_json(), team.score, gate)
