"""A figure as a PNG, for those who cannot draw Plotly JSON: the same traces through matplotlib, without a display."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

SIZE = (8.0, 4.5)  # inches, at 100 dots each
DAY = 86_400_000.0  # milliseconds
MARKERS = {"circle": "o", "diamond": "D", "x": "X", "triangle-up": "^"}


def png(figure: Mapping[str, Any]) -> bytes:
    """The picture.  Knows the kinds of traces that `app.jobs.plots` makes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawing = Figure(figsize=SIZE, dpi=100, layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.add_subplot()
    layout = figure["layout"]
    axes.set_title(layout["title"]["text"], fontsize=11, parse_math=False)
    axes.set_xlabel(layout["xaxis"]["title"]["text"], parse_math=False)
    axes.set_ylabel(layout["yaxis"]["title"]["text"], parse_math=False)
    boxes = [t for t in figure["data"] if t["type"] == "box"]
    for trace in figure["data"]:
        if trace["type"] == "scatter":
            _scatter(axes, trace)
        elif trace["type"] == "bar":
            _bars(axes, trace)
        elif trace["type"] == "parcoords":
            _parallel(axes, trace)
    if boxes:
        axes.boxplot([_known(t["y"]) for t in boxes], tick_labels=[_plain(t["name"]) for t in boxes])
    elif 0 < len(axes.get_legend_handles_labels()[0]) <= 12:
        axes.legend(fontsize=8)
    out = io.BytesIO()
    drawing.savefig(out, format="png")
    return out.getvalue()


def _scatter(axes: Any, trace: Mapping[str, Any]) -> None:
    y = [float("nan") if v is None else v for v in trace["y"]]
    name = _plain(trace["name"])
    if trace["mode"] == "markers":
        axes.errorbar(
            trace["x"],
            y,
            yerr=trace["error_y"]["array"],
            fmt=MARKERS[trace["marker"]["symbol"]],
            ms=4,
            lw=0.7,
            color=trace["marker"]["color"],
            label=name,
        )
        return
    style = "steps-post" if trace["line"].get("shape") == "hv" else "default"
    dash = ":" if trace["line"].get("dash") == "dot" else "-"
    axes.plot(
        trace["x"], y, drawstyle=style, ls=dash, lw=trace["line"]["width"], color=trace["line"]["color"], label=name
    )


def _bars(axes: Any, trace: Mapping[str, Any]) -> None:
    from matplotlib.dates import date2num

    left = [float(date2num(datetime.fromisoformat(b))) for b in trace["base"]]  # type: ignore[no-untyped-call]
    width = [x / DAY for x in trace["x"]]
    axes.barh(
        [_plain(y) for y in trace["y"]],
        width,
        left=left,
        color=trace["marker"]["color"],
        hatch=trace["marker"]["pattern"]["shape"],
        label=_plain(trace["name"]),
    )
    axes.xaxis_date()


def _parallel(axes: Any, trace: Mapping[str, Any]) -> None:
    from matplotlib import colormaps

    dimensions = trace["dimensions"]
    columns = [_unit(d["values"]) for d in dimensions]
    colours = colormaps["viridis"](_unit(trace["line"]["color"]))
    for row, colour in zip(zip(*columns, strict=True), colours, strict=True):
        axes.plot(range(len(columns)), row, color=colour, lw=0.8)
    axes.set_xticks(range(len(columns)), [_plain(d["label"]) for d in dimensions], rotation=30, fontsize=8)


def _unit(values: Sequence[float | None]) -> list[float]:
    known = _known(values)
    low, high = min(known, default=0.0), max(known, default=1.0)
    return [0.5 if v is None or high <= low else (v - low) / (high - low) for v in values]


def _known(values: Sequence[float | None]) -> list[float]:
    return [v for v in values if v is not None]


def _plain(text: str) -> str:
    return str(text).replace("$", r"\$")
