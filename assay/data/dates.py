"""Parts of a date and time, taken from its text: by NumPy while training, by string nodes in the delivered graph.

A text is `YYYY-MM-DD HH:MM:SS`; a date alone and a `T` between date and time do as well, seconds and what follows them
are not read.  Years 1000 to 2999 are known.  Whatever cannot be read is NaN in every part and raises nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from assay.data.table import Words
from assay.model.graph import ML, Scope

PARTS = (
    "year", "month", "day", "weekday", "day of year", "hour", "days since 2000-01-01",
    "sine of year", "cosine of year", "sine of day", "cosine of day",
)  # fmt: skip
_SENTINEL = "2000-01-01T00:00:00"  # one row more, so that every split has all its columns even for an empty batch


def _spelled(numbers: range, width: int) -> dict[str, float]:
    return {str(n): float(n) for n in numbers} | {str(n).zfill(width): float(n) for n in numbers}


_YEARS = _spelled(range(1000, 3000), 4)
_MONTHS = _spelled(range(1, 13), 2)
_DAYS = _spelled(range(1, 32), 2)
_HOURS = {"": 0.0} | _spelled(range(24), 2)
_MINUTES = {"": 0.0} | _spelled(range(60), 2)


def _circle(fn: Callable[[np.ndarray], np.ndarray], steps: int, period: float) -> np.ndarray:
    """fn over one turn as a float32 table of `steps` entries, with NaN as its last row."""
    return np.append(fn(2 * np.pi * np.arange(steps) / period), np.nan).astype(np.float32)


# looked up rather than computed: sin and cos of two libraries differ in the last bit, a table does not
_SIN_YEAR, _COS_YEAR = (_circle(f, 367, 365.25) for f in (np.sin, np.cos))
_SIN_DAY, _COS_DAY = (_circle(f, 1440, 1440.0) for f in (np.sin, np.cos))


def date_parts(words: Words) -> np.ndarray:
    """The parts of every row.  float32 (n, len(PARTS)), NaN where missing or unreadable."""
    fields = np.full((len(words.levels) + 1, 5), np.nan, np.float32)  # the last row is "missing"
    fields[:-1] = _read(words.levels)
    return np.asarray(_parts(fields)[words.codes])


def _read(levels: np.ndarray) -> np.ndarray:
    """Year, month, day, hour, minute of each text.  float32 (k, 5)."""
    if len(levels) == 0:
        return np.empty((0, 5), np.float32)
    if set(map(len, levels)) == {19}:
        plain = _read_plain(levels.astype("U19"))
        if plain is not None:
            return plain
    return np.array([_read_one(v) for v in levels], np.float32)


def _read_plain(levels: np.ndarray) -> np.ndarray | None:
    """The common form at full speed; None when one text has another form or a part out of range."""
    chars = levels.view(np.uint32).reshape(-1, 19).astype(np.int64)
    marks = chars[:, [4, 7, 10, 13, 16]] == np.array([ord(c) for c in "-- ::"])
    marks[:, 2] |= chars[:, 10] == ord("T")
    digits = chars[:, [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18]] - ord("0")
    if not marks.all() or (digits < 0).any() or (digits > 9).any():
        return None
    two = digits[:, 0::2] * 10 + digits[:, 1::2]  # century, year, month, day, hour, minute, second
    out = np.column_stack([two[:, 0] * 100 + two[:, 1], two[:, 2:6]])
    fits = (out >= np.array([1000, 1, 1, 0, 0])).all() and (out <= np.array([2999, 12, 31, 23, 59])).all()
    return out.astype(np.float32) if fits else None


def _read_one(text: str) -> tuple[float, float, float, float, float]:
    head, _, tail = text.partition("T")
    tokens = [t for t in f"{head} {tail}".split(" ") if t] + ["", ""]
    year, month, day = [*tokens[0].split("-", 2), "", ""][:3]
    hour, minute = [*tokens[1].split(":", 2), ""][:2]
    nan = float("nan")
    return (
        _YEARS.get(year, nan), _MONTHS.get(month, nan), _DAYS.get(day, nan),
        _HOURS.get(hour, nan), _MINUTES.get(minute, nan),
    )  # fmt: skip


def _parts(fields: np.ndarray) -> np.ndarray:
    """float32 (k, 5) -> (k, len(PARTS)).  All whole numbers here stay below 2^24, where float32 is exact."""
    f = np.float32
    year, month, day, hour, minute = fields.T
    early = (month <= 2).astype(f)
    days = _days(year - early, month + f(12) * early - f(3), day)
    of_year = days - _days(year - f(1), f(10), f(1)) + f(1)
    saturday = days + f(5)  # 2000-01-01 was a Saturday, day 5 of the week
    weekday = saturday - f(7) * np.floor(saturday / f(7))
    minutes = hour * f(60) + minute
    ok = (days + minutes) * f(0)  # NaN if any field is
    numbers = [year, month, day, weekday, of_year, hour + minute / f(60), days]
    turn = np.where(np.isnan(of_year + ok), f(367), of_year).astype(np.int64)
    clock = np.where(np.isnan(minutes + ok), f(1440), minutes).astype(np.int64)
    circles = [_SIN_YEAR[turn], _COS_YEAR[turn], _SIN_DAY[clock], _COS_DAY[clock]]
    return np.column_stack([n + ok for n in numbers] + circles).astype(f)


def _days(year: np.ndarray, month: np.ndarray | np.float32, day: np.ndarray | np.float32) -> np.ndarray:
    """Days since 2000-01-01 of a date whose year begins in March (month 0).

    Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
    """
    f = np.float32
    leap = np.floor(year / f(4)) - np.floor(year / f(100)) + np.floor(year / f(400))
    return np.asarray(f(365) * year + leap + np.floor((f(153) * month + f(2)) / f(5)) + day - f(730426))


def emit_date_parts(scope: Scope, x: str) -> str:
    """The same from a string value [N, 1], as nodes -> float32 [N, len(PARTS)]."""

    def split(value: str, delimiter: str | None, maxsplit: int | None) -> str:
        attrs: dict[str, Any] = ({"delimiter": delimiter} if delimiter else {}) | (
            {"maxsplit": maxsplit} if maxsplit else {}
        )
        return scope.add_many("StringSplit", value, outputs=2, **attrs)[0]

    def piece(value: str, i: int) -> str:
        return scope.add("Gather", value, scope.const(np.int64(i)), axis=-1)

    def number(value: str, known: dict[str, float]) -> str:
        keys, values = list(known), list(known.values())
        read = scope.add(
            "LabelEncoder", value, domain=ML, keys_strings=keys, values_floats=values, default_float=float("nan")
        )
        first, end, rows = (scope.const(np.array([v], np.int64)) for v in (0, -1, 0))
        return scope.add("Slice", read, first, end, rows)

    rows = scope.add("Concat", x, scope.const(np.array([[_SENTINEL]], object)), axis=0)
    halves = split(rows, "T", 1)
    spaced = scope.add("StringConcat", piece(halves, 0), scope.const(np.array([[" "]], object)))
    tokens = split(scope.add("StringConcat", spaced, piece(halves, 1)), None, None)
    date, time = split(piece(tokens, 0), "-", 2), split(piece(tokens, 1), ":", 2)
    year, month, day = (number(piece(date, i), known) for i, known in enumerate((_YEARS, _MONTHS, _DAYS)))
    hour, minute = (number(piece(time, i), known) for i, known in enumerate((_HOURS, _MINUTES)))
    return _emit_parts(scope, year, month, day, hour, minute)


def _emit_parts(scope: Scope, year: str, month: str, day: str, hour: str, minute: str) -> str:
    def c(value: float) -> str:
        return scope.const(np.float32(value))

    def op(kind: str, *values: str) -> str:
        return scope.add(kind, *values)

    def days_of(y: str, m: str, d: str) -> str:
        def whole(by: float) -> str:
            return op("Floor", op("Div", y, c(by)))

        leap = op("Add", op("Sub", whole(4), whole(100)), whole(400))
        months = op("Floor", op("Div", op("Add", op("Mul", c(153), m), c(2)), c(5)))
        return op("Sub", op("Add", op("Add", op("Add", op("Mul", c(365), y), leap), months), d), c(730426))

    def turned(table: np.ndarray, at: str) -> str:
        return scope.add("Gather", scope.const(table), at)

    def index(value: str, last: int) -> str:
        return scope.add("Cast", op("Where", op("IsNaN", value), c(last), value), to=7)

    early = scope.add("Cast", op("LessOrEqual", month, c(2)), to=1)
    days = days_of(op("Sub", year, early), op("Sub", op("Add", month, op("Mul", c(12), early)), c(3)), day)
    of_year = op("Add", op("Sub", days, days_of(op("Sub", year, c(1)), c(10), c(1))), c(1))
    saturday = op("Add", days, c(5))
    weekday = op("Sub", saturday, op("Mul", c(7), op("Floor", op("Div", saturday, c(7)))))
    minutes = op("Add", op("Mul", hour, c(60)), minute)
    ok = op("Mul", op("Add", days, minutes), c(0))
    numbers = [year, month, day, weekday, of_year, op("Add", hour, op("Div", minute, c(60))), days]
    turn, clock = index(op("Add", of_year, ok), 367), index(op("Add", minutes, ok), 1440)
    circles = [turned(_SIN_YEAR, turn), turned(_COS_YEAR, turn), turned(_SIN_DAY, clock), turned(_COS_DAY, clock)]
    return scope.add("Concat", *[op("Add", n, ok) for n in numbers], *circles, axis=1)
