"""From checkpoints to a delivered clustering: the best trial whose graph answers like the clustering it was made of."""

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

from assay.clustering.agreement import FIRST, agreed
from assay.clustering.assign import NOISE
from assay.data.table import ColumnType
from assay.errors import AssayError, DataError
from assay.model import checkpoint
from assay.model.bundle import write_bundle
from assay.model.compose import Delivered, model_bytes
from assay.model.deliver import Built, Source, _front, field_of
from assay.model.gate import raw_feeds
from assay.model.graph import Graph, Scope, dedupe
from assay.model.manifest import Manifest, Member
from assay.model.session import session_of
from assay.tasks._problem import Problem

TRIED = 8  # best trials tried before a job is given up
BEST = 60  # trials, besides the first, that may be delivered
ATOL = 1e-3  # of distances, relative to 1 + the distance: precisions of thin clusters magnify float32 rounding
TIE = 1e-4  # margins below it may be decided either way in float32
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Replayed:
    """How a graph compared with the clustering on the gate's rows.  message: "" if it passed."""

    n_rows: int
    max_difference: float
    ties: int
    ms_per_row: float
    message: str


def deliver(
    problem: Problem,
    sources: Sequence[Source],
    folder: Path,
    info: Mapping[str, Any],
    formats: Mapping[str, Mapping[str, Any]],
    ensemble: bool = False,
) -> Built:
    """Write `model.onnx` and `model.zip`.  Names of clusters differ from trial to trial: one is delivered alone, the best or,
    with `ensemble`, the one that the likely ones agree with.

    Raises DataError when there is no readable checkpoint, AssayError when no graph answers like its clustering.
    """
    told = ""
    ranked = sorted(sources, key=lambda s: (-s.score, s.number))
    for source in (_agreed(problem, ranked) if ensemble else ranked)[:TRIED]:
        try:
            opened = checkpoint.load(source.path)
            graph, names, report = _compose(problem, opened, info)
        except (DataError, KeyError, OSError):
            log.exception("the checkpoint of trial %d cannot be read", source.number)
            continue
        if not report.message:
            return _package(problem, source, opened, graph, names, report, folder, info, formats)
        told = f"the graph of trial {source.number} does not answer like its clustering: {report.message}"
        log.warning(told)
    if not told:
        raise DataError("no completed trial has a readable checkpoint")
    raise AssayError(told)


def _agreed(problem: Problem, ranked: Sequence[Source]) -> list[Source]:
    """The trials anew, by what the first and likely ones expect of each; those that cannot be read or are far behind last."""
    codes: dict[int, np.ndarray] = {}
    odds: dict[int, float] = {}
    first = sorted(ranked, key=lambda s: s.number)[:FIRST]
    for source in {s.number: s for s in (*ranked[:BEST], *first)}.values():
        try:
            opened = checkpoint.load(source.path)
            odds[source.number], codes[source.number] = opened.info["odds"], opened.array("codes")
        except (DataError, KeyError, OSError):
            log.exception("the checkpoint of trial %d cannot be read", source.number)
    known = [s for s in ranked if s.number in codes]
    if not known:
        return list(ranked)
    merits = agreed(
        [s.score for s in known],
        [odds[s.number] for s in known],
        [codes[s.number] for s in known],
        np.argsort([s.number for s in known])[:FIRST],
        problem.resolved.seed,
    )
    order = np.argsort(-merits, kind="stable")
    return [known[i] for i in order] + [s for s in ranked if s.number not in codes]


def answer_graph(member: Graph) -> Delivered:
    """`label`, int64 [N], and `distance`, float32 [N, 1], from a member that answers [N, 2]."""
    s = Scope()
    both = s.include(member)
    label = s.add("Cast", s.add("Gather", both, s.const(np.int64(0)), axis=1), to=7)
    distance = s.add("Gather", both, s.const(np.array([1], np.int64)), axis=1)
    outputs = {"label": label, "distance": distance}
    ports = {"label": ("int64", ("N",)), "distance": ("float32", ("N", 1))}
    return Delivered(dedupe(s.graph(label), keep=outputs.values()), outputs, (), ports)


def replay(
    onnx: bytes, names: Mapping[str, str], feeds: Mapping[str, np.ndarray], expected: np.ndarray, margin: np.ndarray
) -> Replayed:
    """Ask the graph for the gate's rows.  expected: (n, 2).  margin: (n,), by how much each label was decided."""
    n = len(expected)
    try:
        session = session_of(onnx)
        began = time.perf_counter()
        label, distance = session.run([names["label"], names["distance"]], dict(feeds))
        ms = 1000 * (time.perf_counter() - began) / max(1, n)
        rows = sorted({0, n // 2, n - 1})
        alone = [session.run([names["label"]], {k: v[i : i + 1] for k, v in feeds.items()})[0][0] for i in rows]
    except Exception as error:  # the runtime refuses to load or to run it
        return Replayed(n, float("inf"), 0, 0.0, f"{type(error).__name__}: {error}")
    apart = np.abs(distance[:, 0] - expected[:, 1]) / (1.0 + np.abs(expected[:, 1]))
    tie = margin < TIE
    other = label != expected[:, 0].astype(np.int64)
    largest = float(apart[~tie].max(initial=0.0))
    message = ""
    if (other & ~tie).any():
        i = int(np.flatnonzero(other & ~tie)[0])
        message = f"{int((other & ~tie).sum())} of {n} rows get another cluster, first row {i}: {label[i]} for {expected[i, 0]:.0f}"
    elif not largest <= ATOL:
        message = f"distances differ by up to {largest:.1e}"
    elif any(a != label[i] for a, i in zip(alone, rows, strict=True) if not tie[i]):
        message = "a row alone gets another cluster than in a batch"
    return Replayed(n, largest, int(tie.sum()), ms, message)


def _compose(
    problem: Problem, opened: checkpoint.Checkpoint, info: Mapping[str, Any]
) -> tuple[bytes, dict[str, str], Replayed]:
    types = {name: ColumnType(problem.features.types[name]) for name in problem.features.names}
    about = {"producer": "assay", "job": str(info.get("job_id", ""))}
    graph, names = model_bytes(answer_graph(opened.graph), types, about, problem.fronts)
    feeds = raw_feeds(problem.gate, problem.fronts)
    return graph, names, replay(graph, names, feeds, opened.array("gate"), opened.array("gate_margin"))


def _package(
    problem: Problem,
    source: Source,
    opened: checkpoint.Checkpoint,
    graph: bytes,
    names: Mapping[str, str],
    report: Replayed,
    folder: Path,
    info: Mapping[str, Any],
    formats: Mapping[str, Mapping[str, Any]],
) -> Built:
    resolved, facts = problem.resolved, opened.info
    gate = {"rows": report.n_rows, "max_difference": report.max_difference, "ties": report.ties}
    stability = facts["stability"]
    manifest = Manifest(
        name=str(info.get("name", "model")),
        kind=resolved.kind,
        task=resolved.task,
        target=resolved.target,
        metric=resolved.metric,
        created_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        input_schema=tuple(field_of(problem, name, formats.get(name, {})) for name in problem.features.names),
        outputs=dict(names),
        metrics=facts["metrics"],
        members=(Member(source.number, source.family, 1.0),),
        fronts={n: text for n in problem.features.names if (text := _front(problem, n))},
        versions={p: packages.version(p) for p in ("numpy", "onnxruntime", "onnx")},
        info={
            "job_id": info.get("job_id", ""),
            "score": source.score,
            "score_std": float(np.std(stability)) if stability else 0.0,
            "rows": {"train": len(problem.y), "noise": facts["noise"]},
            "validation": {"method": resolved.method, "folds": resolved.folds},
            "clusters": {
                "sizes": facts["clusters"],
                "noise": facts["noise"],
                "stability": float(np.mean(stability)) if stability else None,
                "predict": predict_text(facts["assign"]),
            },
            "gate": gate,
            "predict_ms_per_row": report.ms_per_row,
        },
    )
    (folder / "model.onnx").write_bytes(graph)
    write_bundle(folder / "model.zip", graph, manifest)
    return Built("model.zip", "model.onnx", manifest.to_json(), source.score, gate)


def predict_text(assign: Mapping[str, Any]) -> str:
    """What predicting does for a new row, in words."""
    if assign["kind"] == "components":
        return (
            f"the most probable of {assign['components']} normal distributions; distance: Mahalanobis distance to its mean, "
            "in the prepared space"
        )
    text = f"the cluster of the nearest of {assign['points']} stored points, in the prepared space; distance: to that point"
    if assign["radius"] is not None:
        text += f"; {NOISE} (noise) farther than {assign['radius']:.6g} from all of them, or where that point is noise"
    return text
