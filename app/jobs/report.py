"""The report of a job: one HTML page that needs nothing but itself; its charts are SVG, so no script is in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from jinja2 import Environment
from sqlalchemy import Connection

from app.answers import time
from app.jobs import board, view
from app.jobs import repository as rows
from app.jobs.plots import figure

REPORT_CSP = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
W, H, LEFT, BOTTOM, TOP = 720, 280, 70, 34, 12  # of a chart, in pixels
GLYPHS = {"circle": "\u25cf", "diamond": "\u25c6", "x": "\u2716", "triangle-up": "\u25b2"}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ job.name }} - Assay report</title>
<meta name="viewport" content="width=device-width">
<style>
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #8884; vertical-align: top }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem }
dt { opacity: .7 } dd { margin: 0 }
svg { width: 100%; height: auto } svg text { fill: currentColor; font-size: 11px }
.wrap { overflow-x: auto } code { font-size: 13px }
</style></head><body>
<h1>{{ job.name }}</h1>
<p>{{ summary }}</p>
<h2>The job</h2>
<dl>{% for k, v in facts %}<dt>{{ k }}</dt><dd>{{ v }}</dd>{% endfor %}</dl>
{% if job.resolved.because %}<h2>What was decided for you</h2>
<ul>{% for line in job.resolved.because %}<li>{{ line }}</li>{% endfor %}</ul>{% endif %}
{% if left_out %}<h2>Columns left out</h2>
<ul>{% for c in left_out %}<li><code>{{ c.column }}</code>: {{ c.reason }}</li>{% endfor %}</ul>{% endif %}
<h2>Score of every trial</h2>
<svg viewBox="0 0 {{ chart.w }} {{ chart.h }}" role="img" aria-label="history">
{% for t in chart.y_ticks %}<line x1="{{ chart.left }}" x2="{{ chart.w }}" y1="{{ t.at }}" y2="{{ t.at }}" \
stroke="currentColor" stroke-opacity=".15"/><text x="{{ chart.left - 6 }}" y="{{ t.at + 4 }}" text-anchor="end">{{ t.label }}</text>{% endfor %}
{% for t in chart.x_ticks %}<text x="{{ t.at }}" y="{{ chart.h - 14 }}" text-anchor="middle">{{ t.label }}</text>{% endfor %}
{% for p in chart.points %}<text x="{{ p.x }}" y="{{ p.y }}" text-anchor="middle" dominant-baseline="central" style="fill: {{ p.colour }}">{{ p.glyph }}\
<title>{{ p.title }}</title></text>{% endfor %}
{% if chart.line %}<polyline points="{{ chart.line }}" fill="none" stroke="currentColor" stroke-width="1.5"/>{% endif %}
</svg>
<p>{% for name, colour, glyph in chart.legend %}<span style="white-space: nowrap"><span style="color: {{ colour }}">{{ glyph }}</span> {{ name }}</span> &nbsp; {% endfor %}</p>
<h2>Families</h2>
<div class="wrap"><table><tr><th>family</th><th>completed</th><th>best {{ metric }}</th><th>seconds</th></tr>
{% for f in families %}<tr><td>{{ f.name }}</td><td>{{ f.n }}</td><td>{{ f.best }}</td><td>{{ f.seconds }}</td></tr>{% endfor %}</table></div>
<h2>Leaderboard</h2>
<div class="wrap"><table><tr><th>rank</th><th>trial</th><th>family</th><th>{{ metric }}</th><th>&plusmn;</th><th>test</th>\
<th>ms a row</th><th>configuration</th></tr>
{% for r in leaderboard %}<tr><td>{{ r.rank }}</td><td>{{ r.trial }}</td><td>{{ r.family }}</td><td>{{ r.value }}</td>\
<td>{{ r.std }}</td><td>{{ r.test }}</td><td>{{ r.ms }}</td><td><code>{{ r.config }}</code></td></tr>{% endfor %}</table></div>
<p><small>Made by Assay at {{ now }} for {{ job.id }}.</small></p>
</body></html>
"""
_template = Environment(autoescape=True, trim_blocks=True).from_string(_PAGE)


def report_html(connection: Connection, job: Any, now: datetime) -> str:
    """The page.  Every name from outside is escaped."""
    metric = job.resolved["metric"]
    trials = rows.plotted(connection, job.id)
    table = board.board(connection, job.id, 0, 30)[:30]
    shown = view.to_json(job, now, None)
    return _template.render(
        job=job,
        metric=metric,
        now=time(now),
        summary=_summary(shown),
        facts=_facts(shown),
        left_out=job.resolved.get("left_out", []),
        chart=_chart(figure(connection, job, "history")),
        families=_families(trials, metric),
        leaderboard=[_row(r, metric) for r in table],
    )


def _summary(job: Mapping[str, Any]) -> str:
    trials = job["progress"]["trials"]
    text = f"{trials['completed']} of {sum(trials.values())} trials completed in {job['progress']['elapsed_seconds']:.0f} s"
    if job["best"] is None:
        return f"{text}; none has a score yet."
    best = job["best"]
    spread = "" if best["std"] is None else f" \u00b1 {best['std']:.4g}"
    return f"{text}; the best is trial {best['trial']} with {best['metric']} {_number(best['value'])}{spread}."


def _facts(job: Mapping[str, Any]) -> list[tuple[str, Any]]:
    resolved = job["resolved"]
    wanted = [
        ("status", job["status"] if job["stop_reason"] is None else f"{job['status']} ({job['stop_reason']})"),
        ("task", f"{resolved.get('task')} ({resolved.get('kind')})"),
        ("target", resolved.get("target") or None),
        ("rows", resolved.get("n_rows")),
        ("columns used", len(resolved.get("features", []))),
        ("validation", f"{resolved.get('method')}, {resolved.get('folds')} folds, seed {resolved.get('seed')}"),
        ("strategy", resolved.get("strategy")),
        ("families", ", ".join(resolved.get("families", []))),
        ("model", job["best"]["model_id"] if job["best"] else None),
        ("error", job["error"]["message"] if job["error"] else None),
    ]
    return [(k, v) for k, v in wanted if v is not None]


def _families(trials: Sequence[Any], metric: str) -> list[dict[str, Any]]:
    found = []
    for name in sorted({t.family for t in trials}):
        mine = [t for t in trials if t.family == name]
        scores = [t.score for t in mine if t.status == "completed" and t.score is not None]
        found.append(
            {
                "name": name,
                "n": len(scores),
                "best": _number(view.public(metric, max(scores))) if scores else "-",
                "seconds": f"{sum(t.fit_seconds or 0.0 for t in mine):.1f}",
            }
        )
    return found


def _row(row: Mapping[str, Any], metric: str) -> dict[str, Any]:
    return {
        "rank": row["rank"],
        "trial": "ensemble" if row["is_ensemble"] else row["trial"],
        "family": row["family"],
        "value": _number(view.public(metric, row["score"])),
        "std": _number(row["score_std"]),
        "test": _number(row["test_metrics"].get(metric)),
        "ms": _number(row["predict_ms_per_row"]),
        "config": ", ".join(f"{k}={_number(v) if isinstance(v, float) else v}" for k, v in row["config"].items()),
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def _chart(drawn: Mapping[str, Any]) -> dict[str, Any]:
    """The history figure as coordinates."""
    dots = [t for t in drawn["data"] if t["mode"] == "markers"]
    line = next(t for t in drawn["data"] if t["mode"] == "lines")
    xs = [x for t in dots for x in t["x"]] or [0, 1]
    ys = [y for t in dots for y in t["y"]] or [0.0, 1.0]
    to_x = _scale(min(xs), max(xs), LEFT + 10, W - 10)
    to_y = _scale(min(ys), max(ys), H - BOTTOM - 8, TOP)
    points = [
        {
            "x": to_x(x),
            "y": to_y(y),
            "colour": t["marker"]["color"],
            "glyph": GLYPHS[t["marker"]["symbol"]],
            "title": f"trial {x}, {t['name']}: {y:.5g}",
        }
        for t in dots
        for x, y in zip(t["x"], t["y"], strict=True)
    ]
    steps: list[str] = []
    for i, (x, y) in enumerate(zip(line["x"], line["y"], strict=True)):
        if i:
            steps.append(f"{to_x(x)},{to_y(line['y'][i - 1])}")
        steps.append(f"{to_x(x)},{to_y(y)}")
    return {
        "w": W,
        "h": H,
        "left": LEFT,
        "points": points,
        "line": " ".join(steps),
        "legend": [(t["name"], t["marker"]["color"], GLYPHS[t["marker"]["symbol"]]) for t in dots],
        "y_ticks": [{"at": to_y(v), "label": f"{v:.4g}"} for v in _ticks(min(ys), max(ys))],
        "x_ticks": [{"at": to_x(v), "label": f"{v:.0f}"} for v in sorted({min(xs), max(xs)})],
    }


def _scale(low: float, high: float, first: float, last: float) -> Any:
    spread = (high - low) or 1.0
    return lambda v: round(first + (v - low) / spread * (last - first), 1)


def _ticks(low: float, high: float) -> list[float]:
    return [low] if high <= low else [low + (high - low) * i / 4 for i in range(5)]
