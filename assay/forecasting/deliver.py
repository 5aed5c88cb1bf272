"""From checkpoints to a delivered forecaster: weights by backtests, one graph, replayed before it is packed."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata as packages
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from assay.data.table import ColumnType
from assay.errors import AssayError, DataError
from assay.families import discover as families
from assay.forecasting.blend import Blend
from assay.forecasting.compose import ATTENTION, KNOWN, QUANTILES, SERIES, VALUE, WINDOW, encoded, forecast_graph
from assay.forecasting.evaluate import all_metrics, backtest, clipped
from assay.forecasting.panel import Series, beside_window, window
from assay.forecasting.problem import ForecastProblem
from assay.forecasting.spread import offsets, with_quantiles
from assay.metrics import METRICS
from assay.metrics.forecasting import LEVELS, Actual, Forecast
from assay.model import checkpoint
from assay.model.bundle import write_bundle
from assay.model.deliver import Built, Source
from assay.model.ensemble import bagged_weights
from assay.model.manifest import Manifest, Member
from assay.model.session import session_of

CANDIDATES = 12  # best trials that may enter, besides the best of every family
NEAR = 2.0  # families whose error is at most so much more of the best one's share the even part of the weights
EVEN = 300  # values of backtests at which the even part is one half: few say little of which family is best
MIDDLE = 0.5  # of the even part, as the median of families that are good on any series
POWER = 2  # of the errors that the even part is shared by: half the error has four times the weight
TRUST = 0.15  # share in the even part of a family that does not say its own; the best on any series have 1
GOOD = 0.5  # trust from which a family counts as good on any series
FAR = 4.0  # families whose error is at most so much more of the best one's count in the median
LEAD = 0.1  # by which a searched configuration must beat its family's default where backtests are few
LEAST_WINDOWS = 4  # of backtests, for a configuration to take the place of the default of a family that is trusted
SURE = 2.0  # standard errors over windows by which it must be better
LEAD_EVEN = 60  # values of backtests at which half of that lead is enough
ATOL = 2e-4  # of the replay, in units of the window's scale: float32 over a long window
Found = Sequence[tuple[Source, checkpoint.Checkpoint]]
log = logging.getLogger(__name__)


def deliver(
    problem: ForecastProblem,
    sources: Sequence[Source],
    folder: Path,
    *,
    ensemble: bool,
    info: Mapping[str, Any],
    seconds: float,
) -> Built:
    """Write `model.onnx` and `model.zip`.  Members whose graph does not answer like their predictor are left out.

    Raises DataError when no checkpoint can be read, AssayError when no graph passes.
    """
    until = time.monotonic() + 0.4 * seconds
    loaded = _loaded(sources, ensemble)
    if not loaded:
        raise DataError("no completed trial has a readable checkpoint")
    told = ""
    while loaded:
        blend = Blend.alone(len(loaded))
        if ensemble:
            blend = weigh(problem, [(s, c.array("oof")) for s, c in loaded], until)
        kept = np.flatnonzero(blend.total > 0).tolist()
        members, blend = [loaded[i] for i in kept], blend.of_members(kept)
        onnx, difference = _composed(problem, members, blend, info)
        if difference <= ATOL:
            return _package(problem, members, blend, onnx, difference, folder, info)
        told = f"off by {difference:.1e} scales"
        alone = {s.number: _composed(problem, [(s, c)], Blend.alone(1), info)[1] for s, c in members}
        guilty = {n for n, d in alone.items() if d > ATOL} or {members[-1][0].number}
        log.warning("members %s do not answer like their predictors: %s", sorted(guilty), told)
        loaded = [(s, c) for s, c in loaded if s.number not in guilty]
    raise AssayError(f"no trial's graph answers like its fitted model: {told}")


def weigh(problem: ForecastProblem, found: Sequence[tuple[Source, np.ndarray]], until: float) -> Blend:
    """Greedy weights on the backtests, mixed with weights of all families by how close they come, and with the median of
    those families that are good on any series.

    A handful of backtest windows cannot tell good families apart; the middle of several good ones is hard to beat
    (Petropoulos, Svetunkov: A simple combination of univariate models, International Journal of Forecasting 36, 2020).
    A family says by its `trust` how much of that mean it is worth before anything is known.  However long the search was,
    a family enters the greedy part with two configurations at most: of many, one is best on a few windows by luck.
    """
    predictions = [clipped(problem, p) for _, p in found]
    actual, _ = backtest(problem, predictions[0])
    metric = problem.metric if problem.metric.name != "wql" else METRICS["mase"]

    def score(point: np.ndarray) -> float:
        return metric.score(actual, Forecast(point)) if time.monotonic() < until else float("nan")

    scores = np.array([metric.score(actual, Forecast(p)) for p in predictions])
    numbers, names = [s.number for s, _ in found], [s.family for s, _ in found]
    trusts = {n: float(getattr(families().get(n), "trust", TRUST)) for n in names}
    proven = _proven(names, numbers, actual, predictions, {n for n, t in trusts.items() if t >= GOOD})
    best = champions(names, numbers, scores, LEAD * LEAD_EVEN / (LEAD_EVEN + actual.y.size), proven)
    top = max(float(scores[i]) for i in best.values())
    chosen = sorted({*best.values(), *champions(names, numbers, scores, 0.0, proven).values()})
    greedy = np.zeros(len(found))
    rng = np.random.default_rng([problem.resolved.seed, 5])
    greedy[chosen] = bagged_weights([predictions[i] for i in chosen], score, rng)
    even = np.zeros(len(found))
    middle = []
    for name, i in best.items():
        trust = trusts[name]
        if scores[i] >= top - NEAR * abs(top):
            even[i] = trust * ((abs(top) + 1e-9) / (abs(float(scores[i])) + 1e-9)) ** POWER
        if trust >= GOOD and scores[i] >= top - FAR * abs(top):
            middle.append(i)
    share = EVEN / (EVEN + actual.y.size)
    of_median = MIDDLE * share if len(middle) >= 3 else 0.0
    mixed = (1 - share) * greedy + (share - of_median) * even / even.sum()
    mixed /= mixed.sum()
    mixed[mixed < 0.02] = 0.0
    return Blend(mixed / mixed.sum(), tuple(middle) if of_median else (), of_median)


def champions(
    families: Sequence[str], numbers: Sequence[int], scores: np.ndarray, lead: float, proven: np.ndarray | None = None
) -> dict[str, int]:
    """The position of the best trial of each family; its first one, which is its default, unless others lead by so much.

    proven: (m,) bool, which trials may take the default's place; None: any.
    """
    found: dict[str, int] = {}
    for family in dict.fromkeys(families):
        own = [i for i, f in enumerate(families) if f == family]
        first = min(own, key=lambda i: numbers[i])
        able = [i for i in own if i == first or proven is None or proven[i]]
        best = max(able, key=lambda i: (float(scores[i]), -numbers[i]))
        found[family] = best if scores[best] > scores[first] + lead * abs(scores[first]) else first
    return found


def _proven(
    families: Sequence[str],
    numbers: Sequence[int],
    actual: Actual,
    predictions: Sequence[np.ndarray],
    trusted: set[str],
) -> np.ndarray:
    """(m,): which trials of families that are good as they are beat their default by more than chance, window by window.

    Of dozens of configurations judged on a few windows the best one is so by luck: on yearly series such a winner's error
    was many times its backtest's.  Other families depend on their configuration, so any of theirs may stand for them.
    """
    errors = [np.abs(actual.y - p).mean(1) / actual.scale for p in predictions]
    found = np.ones(len(families), bool)
    for family in trusted:
        own = [i for i, f in enumerate(families) if f == family]
        first = min(own, key=lambda i: numbers[i])
        for i in own:
            gain = errors[first] - errors[i]
            found[i] = i != first and (
                len(gain) >= LEAST_WINDOWS and gain.mean() > SURE * gain.std(ddof=1) / len(gain) ** 0.5
            )
    return found


def _loaded(sources: Sequence[Source], ensemble: bool) -> list[tuple[Source, checkpoint.Checkpoint]]:
    ordered = sorted(sources, key=lambda s: (-s.score, s.number))
    chosen = ordered[: CANDIDATES if ensemble else 3]
    if ensemble:
        best = {s.family: s for s in reversed(ordered)}
        first = {s.family: s for s in sorted(sources, key=lambda s: -s.number)}
        chosen += [s for s in dict.fromkeys([*best.values(), *first.values()]) if s not in chosen]
    found = []
    for source in chosen:
        try:
            opened = checkpoint.load(source.path)
            opened.array("oof")
            found.append((source, opened))
        except (DataError, KeyError, OSError):
            log.exception("the checkpoint of trial %d cannot be read", source.number)
    return found


def _blended(members: Found, blend: Blend, name: str) -> np.ndarray:
    return blend.of([c.array(name) for _, c in members])


def _offsets(problem: ForecastProblem, members: Found, blend: Blend) -> np.ndarray:
    windows = np.concatenate([c.windows for c in problem.cuts])
    scale = problem.scale(problem.inputs(windows))
    point = clipped(problem, _blended(members, blend, "oof"))
    return offsets((problem.actual(windows).y - point) / scale[:, None])


def _composed(problem: ForecastProblem, members: Found, blend: Blend, info: Mapping[str, Any]) -> tuple[bytes, float]:
    """The graph, and how far it is from the members' own forecasts on the gate's windows, in scales."""
    graph = forecast_graph(
        [c.graph for _, c in members], blend, _offsets(problem, members, blend), problem.season,
        problem.width, problem.near, problem.is_nonnegative, None if problem.last is None else problem.effects(problem.last),
    )  # fmt: skip
    about = {"producer": "assay", "job": str(info.get("job_id", ""))}
    onnx = encoded(graph, problem.width, problem.horizon, len(LEVELS), about, len(problem.layout.known))
    x = problem.gate_inputs
    told = {KNOWN: problem.gate_known} if problem.layout.known else {}
    try:
        value, _ = session_of(onnx).run(
            [VALUE, QUANTILES], {SERIES: x[:, 0].astype(np.int64), WINDOW: x[:, 1:], **told}
        )
    except Exception:
        log.exception("the runtime refuses a graph")
        return onnx, float("inf")
    expected = clipped(problem, _blended(members, blend, "gate"))
    unit = problem.scale(x)[:, None] + np.abs(expected)
    difference = np.abs(value - expected) / unit
    return onnx, float(difference.max()) if np.isfinite(difference).all() else float("inf")


def _package(
    problem: ForecastProblem,
    members: Found,
    blend: Blend,
    onnx: bytes,
    difference: float,
    folder: Path,
    info: Mapping[str, Any],
) -> Built:
    resolved = problem.resolved
    oof = clipped(problem, _blended(members, blend, "oof"))
    bounds = np.cumsum([0, *(len(c.windows) for c in problem.cuts)])
    actual, forecast = backtest(problem, oof)
    assert forecast.quantiles is not None
    folds = [np.arange(a, b) for a, b in pairwise(bounds)]
    scores = [
        problem.metric.score(actual.take(r), Forecast(forecast.point[r], forecast.quantiles[r]))
        for r in folds
        if len(r)
    ]
    gate = {"windows": len(problem.gate_inputs), "max_difference": difference}
    manifest = Manifest(
        name=str(info.get("name", "model")),
        kind=resolved.kind,
        task=resolved.task,
        target=resolved.target,
        metric=resolved.metric,
        created_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        input_schema=tuple(_schema(problem)),
        outputs={n: n for n in (VALUE, QUANTILES, *([ATTENTION] if ATTENTION.encode() in onnx else []))},
        metrics=all_metrics(actual, forecast),
        test_metrics=_tested(problem, members, blend),
        members=tuple(Member(s.number, s.family, float(w)) for (s, _), w in zip(members, blend.total, strict=True)),
        versions={p: packages.version(p) for p in ("numpy", "onnxruntime", "onnx")},
        info={
            "job_id": info.get("job_id", ""),
            "score": float(np.mean(scores)),
            "score_std": float(np.std(scores)),
            "rows": {"train": len(problem.y), "test": len(problem.folds.test), "left_out": problem.left_out},
            "validation": {"method": "rolling origin", "folds": len(problem.folds), "windows": len(actual.y)},
            "gate": gate,
            "forecasting": _facts(problem),
        },
    )
    (folder / "model.onnx").write_bytes(onnx)
    write_bundle(folder / "model.zip", onnx, manifest)
    return Built("model.zip", "model.onnx", manifest.to_json(), float(np.mean(scores)), gate)


def _tested(problem: ForecastProblem, members: Found, blend: Blend) -> dict[str, float]:
    """Of the blend fitted before the test part, on it."""
    if problem.test is None or not len(problem.test.windows):
        return {}
    windows = problem.test.windows
    point = clipped(problem, _blended(members, blend, "test"))
    scale = problem.scale(problem.inputs(windows))
    quantiles = with_quantiles(point, scale, _offsets(problem, members, blend), problem.is_nonnegative)
    return all_metrics(problem.actual(windows), Forecast(point, quantiles))


def _schema(problem: ForecastProblem) -> list[dict[str, Any]]:
    layout, options = problem.layout, problem.resolved.options
    formats, found = options.get("formats", {}), []
    numbers = problem.panel is not None and problem.panel.calendar.unit == "numbers"
    kinds = {layout.time: ColumnType.INTEGER if numbers else ColumnType.DATETIME}
    kinds |= dict.fromkeys((*layout.targets, *layout.known), ColumnType.NUMBER)
    if layout.group is not None:
        kinds[layout.group] = ColumnType.CATEGORY
    assert problem.panel is not None
    first = problem.panel.series[0]
    examples: dict[str, Any] = {t: float(first.values[0]) for t in layout.targets}
    examples |= {c: float(v) for c, v in zip(layout.known, first.beside[0], strict=True)} if layout.known else {}
    examples[layout.time] = problem.panel.calendar.texts(np.array([first.first]))[0]
    if layout.group is not None:
        examples[layout.group] = first.name
    for name, kind in kinds.items():
        found.append(
            {
                "name": name, "type": str(kind), "required": not (layout.known and name in layout.targets),
                "example": examples[name],
                "format": dict(formats.get(name, {})),
            }
        )  # fmt: skip
    return found


def _facts(problem: ForecastProblem) -> dict[str, Any]:
    """All that turns rows into windows and steps into stamps, and the last window of every training series."""
    assert problem.panel is not None
    return {
        "layout": problem.layout.to_json(),
        "calendar": problem.panel.calendar.to_json(),
        "horizon": problem.horizon,
        "width": problem.width,
        "season_lengths": list(problem.seasons),
        "levels": list(LEVELS),
        "series": [
            {
                "name": s.name,
                "next": s.first + len(s.values),
                "window": [float(v) for v in window(s.values, problem.width, problem.season).astype(np.float32)],
                **({"beside": _beside(problem, s)} if problem.layout.known else {}),
            }
            for s in problem.panel.series
        ],
    }


def _beside(problem: ForecastProblem, series: Series) -> list[list[float | None]]:
    """The known columns of the last window and, where the training data told them, of steps after it; None: not told."""
    found = beside_window(series, problem.width, problem.season, problem.horizon)
    return [[float(np.float32(v)) if np.isfinite(v) else None for v in row] for row in found]
