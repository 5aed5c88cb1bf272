"""Figures of a job as Plotly JSON, made from its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from app.answers import finite, time
from app.jobs import repository as rows
from app.jobs.view import public

KINDS: Mapping[str, str] = {
    "history": "Score of every trial and the best so far",
    "timeline": "When each worker trained what",
    "learning_curves": "Scores while trials trained",
    "parallel": "Configurations of the best family",
    "families": "Scores by family",
}
# Okabe and Ito's palette: distinct for colour-blind eyes as well
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8C6BB1", "#7F7F7F")
# symbol and hatching, where the colours begin anew
MARKS = (("circle", ""), ("diamond", "/"), ("x", "x"), ("triangle-up", "."))
MOST_POINTS = 2000  # past this, points are sampled evenly; the best-so-far line keeps every step
MOST_CURVES = 60


def figure(connection: Connection, job: Any, kind: str) -> dict[str, Any]:
    """{"data", "layout"} of one of KINDS.  Scores are shown as values of the metric."""
    if kind == "learning_curves":
        return learning_curves(job, rows.curves(connection, job.id))
    draw: Mapping[str, Callable[[Any, Sequence[Any]], dict[str, Any]]] = {
        "history": history,
        "timeline": timeline,
        "parallel": parallel,
        "families": families,
    }
    return draw[kind](job, rows.plotted(connection, job.id))


def history(job: Any, trials: Sequence[Any]) -> dict[str, Any]:
    metric = job.resolved["metric"]
    done = _completed(trials)
    shown = _sampled(done, MOST_POINTS)
    data: list[dict[str, Any]] = []
    for family, (colour, (symbol, _)) in _looks(job, done).items():
        mine = [t for t in shown if t.family == family]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": family,
                "x": [t.number for t in mine],
                "y": [public(metric, t.score) for t in mine],
                "error_y": {
                    "type": "data",
                    "array": [finite(t.score_std) or 0.0 for t in mine],
                    "thickness": 0.7,
                    "width": 2,
                },
                "marker": {"color": colour, "size": 7, "symbol": symbol},
            }
        )
    x, y = _best_so_far(done, metric)
    data.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "best so far",
            "x": x,
            "y": y,
            "line": {"shape": "hv", "width": 2, "color": "#444444"},
        }
    )
    return {"data": data, "layout": _layout("history", "trial", metric)}


def timeline(job: Any, trials: Sequence[Any]) -> dict[str, Any]:
    begun = _sampled([t for t in trials if t.started_at is not None], MOST_POINTS)
    data: list[dict[str, Any]] = []
    for family, (colour, (_, hatching)) in _looks(job, begun).items():
        mine = [t for t in begun if t.family == family]
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": family,
                "y": [t.worker or "" for t in mine],
                "base": [time(t.started_at) for t in mine],
                "x": [1000.0 * _seconds(t, job.updated_at) for t in mine],  # milliseconds on a date axis
                "text": [f"trial {t.number}: {t.status}" for t in mine],
                "marker": {"color": colour, "pattern": {"shape": hatching}},
            }
        )
    layout = _layout("timeline", "", "") | {"barmode": "overlay"}
    layout["xaxis"] = {"type": "date", "title": {"text": "time (UTC)"}}
    return {"data": data, "layout": layout}


def learning_curves(job: Any, trials: Sequence[Any]) -> dict[str, Any]:
    metric = job.resolved["metric"]
    with_curve = [t for t in trials if t.curve and len(t.curve) > 1]
    best = sorted(with_curve, key=lambda t: (-(t.score if t.score is not None else float("-inf")), t.number))
    chosen = sorted(best[:MOST_CURVES], key=lambda t: t.number)
    looks = _looks(job, with_curve)
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": f"{t.number} {t.family}",
            "x": [step for step, _ in t.curve],
            "y": [public(metric, score) for _, score in t.curve],
            "line": {"color": looks[t.family][0], "dash": "solid" if t.status == "completed" else "dot", "width": 1.5},
        }
        for t in chosen
    ]
    return {"data": data, "layout": _layout("learning_curves", "step", metric)}


def parallel(job: Any, trials: Sequence[Any]) -> dict[str, Any]:
    metric = job.resolved["metric"]
    done = _completed(trials)
    layout = _layout("parallel", "", "")
    if not done:
        return {"data": [], "layout": layout}
    family = max(done, key=lambda t: t.score).family
    mine = _sampled([t for t in done if t.family == family], MOST_POINTS)
    names = [n for n in mine[0].config if len({_key(t.config.get(n)) for t in mine}) > 1]
    scores = [public(metric, t.score) for t in mine]
    dimensions = [_dimension(n, [t.config.get(n) for t in mine]) for n in names]
    dimensions.append({"label": metric, "values": scores})
    line = {"color": scores, "colorscale": "Viridis", "showscale": True}
    layout["title"] = {"text": f"{KINDS['parallel']}: {family}"}
    return {"data": [{"type": "parcoords", "line": line, "dimensions": dimensions}], "layout": layout}


def families(job: Any, trials: Sequence[Any]) -> dict[str, Any]:
    metric = job.resolved["metric"]
    done = _completed(trials)
    data = [
        {
            "type": "box",
            "name": family,
            "y": [public(metric, t.score) for t in done if t.family == family],
            "boxpoints": "all",
            "jitter": 0.4,
            "marker": {"color": colour, "size": 4, "symbol": symbol},
        }
        for family, (colour, (symbol, _)) in _looks(job, done).items()
    ]
    return {"data": data, "layout": _layout("families", "", metric) | {"showlegend": False}}


def _completed(trials: Sequence[Any]) -> list[Any]:
    return [t for t in trials if t.status == "completed" and finite(t.score) is not None]


def _looks(job: Any, trials: Sequence[Any]) -> dict[str, tuple[str, tuple[str, str]]]:
    """Colour, symbol and hatching of every family that the trials are of: the same in every figure of the job."""
    present = {t.family for t in trials}
    names = sorted({*job.resolved.get("families", ()), *present})
    return {
        name: (COLOURS[i % len(COLOURS)], MARKS[i // len(COLOURS) % len(MARKS)])
        for i, name in enumerate(names)
        if name in present
    }


def _sampled(trials: Sequence[Any], most: int) -> Sequence[Any]:
    if len(trials) <= most:
        return trials
    return [trials[i * len(trials) // most] for i in range(most)]


def _best_so_far(done: Sequence[Any], metric: str) -> tuple[list[int], list[float | None]]:
    """Only the trials that improved, and the last one."""
    x: list[int] = []
    y: list[float | None] = []
    best = float("-inf")
    for t in done:
        if t.score > best:
            best = t.score
            x.append(t.number)
            y.append(public(metric, best))
    if done and x[-1] != done[-1].number:
        x.append(done[-1].number)
        y.append(y[-1])
    return x, y


def _seconds(trial: Any, now: datetime) -> float:
    return float(max(0.0, ((trial.finished_at or now) - trial.started_at).total_seconds()))


def _key(value: Any) -> str:
    return repr(value)


def _dimension(name: str, values: Sequence[Any]) -> dict[str, Any]:
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
        return {"label": name, "values": list(values)}
    levels = sorted({str(v) for v in values})
    return {
        "label": name,
        "values": [levels.index(str(v)) for v in values],
        "tickvals": list(range(len(levels))),
        "ticktext": levels,
    }


def _layout(kind: str, x: str, y: str) -> dict[str, Any]:
    return {
        "title": {"text": KINDS[kind]},
        "xaxis": {"title": {"text": x}},
        "yaxis": {"title": {"text": y}, "automargin": True},
        "margin": {"l": 60, "r": 20, "t": 50, "b": 50},
        "hovermode": "closest",
    }
