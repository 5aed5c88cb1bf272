"""A delivered forecaster over rows: histories to windows, the graph, and its answers with stamps.

Imports of this module travel in the bundle: numpy and the standard library, no runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.data.table import Table
from assay.errors import DataError
from assay.forecasting.panel import LEAST_VALUES, Layout, Series, beside_window, continued, read_panel, window
from assay.forecasting.stamps import Calendar

BATCH = 256  # windows a run
Run = Callable[[dict[str, np.ndarray]], tuple[np.ndarray, np.ndarray]]


def forecast(table: Table, facts: Mapping[str, Any], run: Run) -> dict[str, np.ndarray]:
    """Flat answers, series after series: `series`, `time` (objects), `value` (n,), `quantiles` (n, levels).

    table: history rows; none at all asks for the forecast after the training data.  run(inputs) answers
    (value [N, h], quantiles [N, h, levels]).  Raises DataError.
    """
    now, horizon = situation(table, facts), int(facts["horizon"])
    calendar = Calendar.from_json(facts["calendar"])
    parts = [run(now.inputs(slice(i, i + BATCH))) for i in range(0, len(now.codes), BATCH)]
    value, quantiles = (np.concatenate([p[j] for p in parts]) for j in (0, 1))
    stamps = [t for s in now.starts for t in calendar.texts(np.arange(s, s + horizon))]
    return {
        "series": np.repeat(np.array(now.names, object), horizon),
        "time": np.array(stamps, object),
        "value": value.reshape(-1),
        "quantiles": quantiles.reshape(len(stamps), -1),
    }


@dataclass(frozen=True, eq=False)
class Situation:
    """Where forecasts are made from, one entry a series.  codes: int64 (n,), -1 for one that is new; windows: float32
    (n, width); starts: the first step to forecast; known: float32 (n, width + horizon, k), where the model has known
    columns."""

    names: list[str]
    codes: np.ndarray
    windows: np.ndarray
    starts: list[int]
    known: np.ndarray | None = None

    def inputs(self, rows: slice) -> dict[str, np.ndarray]:
        """Of the graph."""
        told = {} if self.known is None else {"known": self.known[rows]}
        return {"series": self.codes[rows], "window": self.windows[rows], **told}


def situation(table: Table, facts: Mapping[str, Any]) -> Situation:
    """The series of history rows; those of the training data where there are no rows.  Raises DataError."""
    calendar = Calendar.from_json(facts["calendar"])
    width, season = int(facts["width"]), int(facts["season_lengths"][0])
    known = {s["name"]: i for i, s in enumerate(facts["series"])}
    series = _histories(table, facts, calendar, known) if len(table) else [_kept(s) for s in facts["series"]]
    names = [s.name for s in series]
    starts = [s.first + len(s.values) for s in series]
    windows = np.array([window(s.values, width, season) for s in series], np.float32)
    codes = np.array([known.get(n, -1) for n in names], np.int64)
    columns = facts["layout"].get("known", [])
    beside = _known(series, facts, columns, calendar) if columns else None
    return Situation(names, codes, windows, starts, beside)


def _kept(facts: Mapping[str, Any]) -> Series:
    """A series as it was when the training data ended."""
    past = np.asarray(facts["window"], np.float64)
    beside = np.asarray(facts["beside"], np.float64) if "beside" in facts else np.empty((0, 0))
    return Series(facts["name"], int(facts["next"]) - len(past), past, beside)


def _known(series: list[Series], facts: Mapping[str, Any], columns: list[str], calendar: Calendar) -> np.ndarray:
    """float32 (n, width + horizon, k).  Raises DataError where a step ahead lacks a known column."""
    width, horizon = int(facts["width"]), int(facts["horizon"])
    found = np.array([beside_window(s, width, int(facts["season_lengths"][0]), horizon) for s in series])
    lacking = np.argwhere(~np.isfinite(found))
    if len(lacking):
        i, step, column = lacking[0]
        stamp = calendar.texts(np.array([series[i].first + len(series[i].values) + step - width]))[0]
        of = f" of series {series[i].name!r}" if series[i].name else ""
        raise DataError(
            f"{columns[column]!r} has no number at {stamp}{of}: the model forecasts with {', '.join(map(repr, columns))}, so "
            f"give rows with them, and without the target, for all {horizon} steps after the history",
            column=columns[column],
            code="schema_mismatch",
        )
    return found.astype(np.float32)


def _histories(table: Table, facts: Mapping[str, Any], calendar: Calendar, known: Mapping[str, int]) -> list[Series]:
    """The series of the rows, each with what the model keeps of it before them; a new series needs two values."""
    layout = Layout.from_json(facts["layout"])
    panel = read_panel(table, layout, calendar, least=0 if layout.known else 1)
    found = []
    for series in panel.series:
        if series.name in known:
            series = continued(series, facts["series"][known[series.name]])
        if len(series.values) >= LEAST_VALUES:
            found.append(series)
    if not found:
        raise DataError("no series has two values to forecast from", code="schema_mismatch")
    return found


def answers(outputs: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One object a series and step."""
    levels = [f"{level:g}" for level in facts["levels"]]
    return [
        {
            **({"series": name} if name else {}),
            "time": stamp,
            "value": value,
            "quantiles": dict(zip(levels, quantiles, strict=True)),
        }
        for name, stamp, value, quantiles in zip(
            outputs["series"].tolist(), outputs["time"].tolist(), outputs["value"].astype(float).tolist(),
            outputs["quantiles"].astype(float).tolist(), strict=True,
        )
    ]  # fmt: skip


def csv_lines(outputs: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> Iterator[list[str]]:
    """Header and rows: series where there are several, time, prediction, quantile_0.1, ..."""
    named = any(outputs["series"].tolist())
    yield [*(["series"] if named else []), "time", "prediction", *(f"quantile_{level:g}" for level in facts["levels"])]
    for answer in answers(outputs, facts):
        lead = [str(answer["series"])] if named else []
        yield [*lead, str(answer["time"]), repr(answer["value"]), *(repr(q) for q in answer["quantiles"].values())]
