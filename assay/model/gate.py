"""The replay gate: no graph is published before it answered like the fitted predictors, on real rows and on hard ones.

Every trial of a job predicts the same gate rows (`gate_table`) with its fitted predictors, so the answer of any
ensemble of them is known before its graph exists; `replay` then compares.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from assay.data.fronts import Front
from assay.data.rows import feed
from assay.data.table import Blobs, Column, ColumnType, Table, Words
from assay.model.compose import Decision, decide, weighed
from assay.model.session import session_of

ATOL = 1e-5
EXTREME = 1e30  # a row with a value beyond it ...
EXTREME_ATOL = 1e-3  # ... may differ by this much: sums of far-away values cancel in float32
PICTURES = 32  # rows of pictures replayed at once
MIXED_ROWS = 40  # real rows with a few hard cells
UNSEEN = "\u2205 never seen in training"

_HARD_NUMBERS = (np.nan, 1e300, -1e300, 0.0, -0.0, 1e-40, 1.0, -1.0)
_HARD_DATES = (
    None, "9999-12-31 23:59:59", "1000-01-01 00:00:00", "2024-02-29 12:00:00", "2999-12-31", "2001-02-03T04:05:06",
    "not a date", "2023-13-45 99:99:99",
)  # fmt: skip
_HARD_WORDS = (None, UNSEEN, " ", "0", "ÀÉ îß 漢字 🙂", "x" * 300, "a  b   c ", "nan")


@dataclass(frozen=True)
class GateReport:
    """How a graph compared.  max_difference: largest difference of a row that is not extreme; message: "" if passed."""

    passed: bool
    n_rows: int
    max_difference: float
    label_flips: int
    message: str = ""
    ms_per_row: float = 0.0  # of the whole batch on one core


def gate_table(table: Table, rng: np.random.Generator, n: int = 1000) -> Table:
    """The rows every trial of a job replays: up to n real ones, drawn by `rng`, then the synthetic ones."""
    rows = np.arange(len(table)) if len(table) <= n else np.sort(rng.choice(len(table), n, replace=False))
    return _stack(table.take(rows), synthetic_rows(table, rng))


def synthetic_rows(table: Table, rng: np.random.Generator) -> Table:
    """Hard rows with the columns of a table: all missing, all unseen, huge, zero, odd dates, and real rows with a few
    such cells."""
    n_hard = len(_HARD_NUMBERS)
    picked = rng.integers(0, max(len(table), 1), MIXED_ROWS) if len(table) else np.empty(0, np.int64)
    columns: dict[str, Column] = {}
    for name, kind in table.types.items():
        if name not in table.columns:
            continue
        column = table.columns[name]
        hard = rng.random(len(picked)) < 0.3
        cell = rng.integers(0, n_hard, len(picked))
        if isinstance(column, Words):
            texts = _HARD_DATES if kind is ColumnType.DATETIME else _HARD_WORDS
            real = column.take(picked).values()
            mixed = [texts[c] if h else v for v, h, c in zip(real, hard, cell, strict=True)]
            columns[name] = Words.of([*texts, *mixed])
        elif isinstance(column, Blobs):
            files: list[bytes | None] = [None, b"no picture", *[None] * (n_hard - 2)]
            columns[name] = Blobs.of([*files, *(column[i] for i in picked)])
        else:
            numbers = np.array(_HARD_NUMBERS)
            if column.ndim == 2:  # a series in every row
                numbers = np.repeat(numbers[:, None], column.shape[1], axis=1)
                hard = rng.random((len(picked), column.shape[1])) < 0.3 * hard[:, None]
            columns[name] = np.concatenate([numbers, np.where(hard, numbers[cell], column[picked])])
    return Table(columns, table.types)


def raw_feeds(table: Table, fronts: Mapping[str, Front] | None = None) -> dict[str, np.ndarray]:
    """A table as inputs of the delivered graph: what a column's front makes of it, else float32 or object (n, 1)."""
    return {name: feed(column, (fronts or {}).get(name)) for name, column in table.columns.items()}


def replay(
    onnx_bytes: bytes,
    feeds: Mapping[str, np.ndarray],
    expected: np.ndarray,
    classes: Sequence[str] = (),
    threshold: Decision = None,
    scale: float = 1.0,
    atol: float = ATOL,
    outputs: Sequence[str] | None = None,
) -> GateReport:
    """Run the graph on the gate rows and compare with what the fitted predictors answer.

    feeds: inputs by name, (n, 1) each.  expected: (n, k), from `assay.model.compose.combine`.  scale: deviation of a
    regression target, the unit of its differences.  A graph is refused if a value differs by more than
    atol * (scale + |expected|), if a label differs where the two best classes are not tied, if it answers anything
    that is not a number, or if rows alone are answered unlike rows in a batch.  outputs: the graph's names of what is
    compared, label first and numbers last; None for all there are.
    """
    session = session_of(onnx_bytes)
    n = len(expected)
    began = time.perf_counter()
    labels, found = _answers(session, feeds, bool(classes), outputs)
    ms_per_row = 1000.0 * (time.perf_counter() - began) / max(1, n)
    if found.shape != expected.shape:
        return GateReport(False, n, np.inf, 0, f"the graph answers {found.shape}, the predictors {expected.shape}")
    extreme = np.zeros(n, bool)
    for values in feeds.values():
        if values.dtype.kind == "f" and values.shape[1:] == (1,):
            extreme |= np.abs(np.nan_to_num(values[:, 0], nan=0.0)) > EXTREME
    unit = 1.0 if classes else max(scale, 1e-30)
    difference = (np.abs(found - expected) / (unit + np.abs(expected))).max(1, initial=0)
    difference = np.where(np.isfinite(found).all(1), difference, np.inf)
    allowed = np.where(extreme, max(EXTREME_ATOL, atol), atol)
    flips = _flips(labels, expected, classes, threshold, allowed)
    largest = float(difference[~extreme].max(initial=0))

    refused = np.flatnonzero(~(difference <= allowed))
    if len(refused):
        worst = refused[np.argmax(difference[refused])]
        message = (
            f"{len(refused)} of {n} rows differ, row {worst} by {difference[worst]:.1e}: "
            f"graph {found[worst].tolist()}, predictors {expected[worst].tolist()}"
        )
        return GateReport(False, n, largest, int(flips.sum()), message)
    if flips.any():
        first = int(np.flatnonzero(flips)[0])
        message = f"{int(flips.sum())} of {n} rows get another label, first row {first}: graph {labels[first]!r}"
        return GateReport(False, n, largest, int(flips.sum()), message)
    for i in _alone(n):
        _, alone = _answers(session, {k: v[i : i + 1] for k, v in feeds.items()}, bool(classes), outputs)
        apart = float((np.abs(alone[0] - found[i]) / (unit + np.abs(found[i]))).max(initial=0))
        if not apart <= allowed[i]:
            return GateReport(False, n, largest, 0, f"row {i} alone differs by {apart:.1e} from row {i} in a batch")
    return GateReport(True, n, largest, 0, ms_per_row=ms_per_row)


def _alone(n: int) -> list[int]:
    """Rows that are also replayed one by one: the first, and the last ones, where the synthetic rows are."""
    return sorted({0, *range(max(0, n - MIXED_ROWS - len(_HARD_NUMBERS)), n, 6)} & set(range(n)))


def _answers(
    session: object, feeds: Mapping[str, np.ndarray], classified: bool, outputs: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Labels (empty for regression) and numbers (n, k) of the graph; the numbers are the last of its outputs."""
    asked = None if outputs is None else list(outputs)
    n = max((len(v) for v in feeds.values()), default=0)
    # pictures a few at a time: what a graph keeps of each between its nodes is large
    step = PICTURES if any(v.ndim > 3 for v in feeds.values()) else max(1, n)
    parts = [session.run(asked, {k: v[i : i + step] for k, v in feeds.items()}) for i in range(0, max(1, n), step)]  # type: ignore[attr-defined]
    found = parts[0] if len(parts) == 1 else [np.concatenate(p) for p in zip(*parts, strict=True)]
    labels = np.asarray(found[0]) if classified else np.empty(0, object)
    return labels, np.asarray(found[-1], np.float64)


def _flips(
    labels: np.ndarray, expected: np.ndarray, classes: Sequence[str], threshold: Decision, allowed: np.ndarray
) -> np.ndarray:
    if not classes:
        return np.zeros(len(expected), bool)
    wanted = np.asarray(list(classes), object)[decide(expected, threshold)]
    if threshold is None or isinstance(threshold, tuple):
        best = np.sort(expected if threshold is None else weighed(expected, threshold), axis=1)
        margin = best[:, -1] - best[:, -2] if expected.shape[1] > 1 else np.ones(len(expected))
    else:
        margin = np.abs(expected[:, 1] - threshold)
    return np.asarray((labels != wanted) & (margin > 2 * allowed))


def _stack(above: Table, below: Table) -> Table:
    """Two tables with the same columns, one under the other."""
    columns: dict[str, Column] = {}
    for name, a in above.columns.items():
        b = below.columns[name]
        if isinstance(a, Words) and isinstance(b, Words):
            columns[name] = Words.of(np.concatenate([a.values(), b.values()]))
        elif isinstance(a, Blobs) and isinstance(b, Blobs):
            columns[name] = Blobs.of([*a, *b])
        else:
            columns[name] = np.concatenate([above.numbers(name), below.numbers(name)])
    return Table(columns, above.types)
