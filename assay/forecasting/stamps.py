"""Time stamps as whole steps of a calendar: every hour, working day, month, quarter, or n-th number.

Months have no fixed length, so calendars of months count months; all others count seconds, working days or numbers.
Imports numpy and the standard library only: this source travels in the bundle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

DAY = 86_400  # seconds
SECONDS = {
    "every second": 1, "every minute": 60, "every 5 minutes": 300, "every 10 minutes": 600, "every 15 minutes": 900,
    "half-hourly": 1800, "hourly": 3600, "daily": DAY, "weekly": 7 * DAY,
}  # fmt: skip
MONTHS = {"monthly": 1, "quarterly": 3, "half-yearly": 6, "yearly": 12}
SEASONS = {
    "half-hourly": (48, 336), "hourly": (24, 168), "daily": (7, 365), "working days": (5,), "weekly": (52,),
    "monthly": (12,), "quarterly": (4,), "half-yearly": (2,), "yearly": (1,),
}  # fmt: skip
HORIZONS = {
    "half-hourly": 48, "hourly": 24, "daily": 14, "working days": 10, "weekly": 8, "monthly": 12, "quarterly": 8,
    "half-yearly": 4, "yearly": 4,
}  # fmt: skip
USUAL_HORIZON = 10
LEAST_TRAIN = 6  # values a model learns from, at least
YEARS = (1500, 2200)  # whole numbers in steps of one between these are years
MOST_GAPS = 0.5  # share of steps without a row past which the stamps follow no calendar


class Irregular(ValueError):
    """The stamps follow no calendar.  `row`: position of a stamp that shows it, None when none alone does."""

    def __init__(self, message: str, row: int | None = None) -> None:
        super().__init__(message)
        self.row = row


@dataclass(frozen=True)
class Calendar:
    """unit: "months", "seconds", "working days" or "numbers"; step: of the unit, from one stamp to the next.

    origin: the stamp of step 0, in months since 0000-01, seconds since 1970, working days since 1970, or as it is.
    day: day of the month (32: its last), for months.  clock: seconds after midnight, for months and working days.
    """

    name: str
    unit: str
    step: int
    origin: int
    day: int = 1
    clock: int = 0

    def steps(self, stamps: np.ndarray) -> np.ndarray:
        """float64 (n,): steps since the origin; not whole where a stamp lies off the calendar.

        stamps: int64 seconds since 1970, or numbers for the unit "numbers".
        """
        if self.unit in ("seconds", "numbers"):
            return np.asarray((stamps - self.origin) / self.step, np.float64)
        if self.unit == "working days":
            days, clock = np.divmod(stamps, DAY)
            index = np.busday_count(np.datetime64("1970-01-01"), days.astype("datetime64[D]")).astype(np.float64)
            off = (clock != self.clock) | ~np.is_busday(days.astype("datetime64[D]"))
            return np.asarray(index - self.origin + 0.5 * off)
        months, day, last, clock = _parts(stamps)
        expected = np.minimum(self.day, last)
        off = (day != expected) | (clock != self.clock)
        return np.asarray((months - self.origin) / self.step + 0.25 / self.step * off)

    def stamps(self, steps: np.ndarray) -> np.ndarray:
        """The inverse of `steps`, for whole ones."""
        at = np.asarray(steps, np.int64)
        if self.unit in ("seconds", "numbers"):
            return np.asarray(self.origin + at * self.step)
        if self.unit == "working days":
            days = np.busday_offset(np.datetime64("1970-01-01"), self.origin + at).astype(np.int64)
            return np.asarray(days * DAY + self.clock)
        months = (self.origin + at * self.step - 1970 * 12).astype("datetime64[M]")
        first = months.astype("datetime64[D]").astype(np.int64)
        last = (months + 1).astype("datetime64[D]").astype(np.int64) - first
        return np.asarray((first + np.minimum(self.day, last) - 1) * DAY + self.clock)

    def texts(self, steps: np.ndarray) -> list[str | int]:
        """Stamps as answers give them: ISO dates, with the time of day where it is not always midnight, or numbers."""
        found = self.stamps(steps)
        if self.unit == "numbers":
            return [int(v) for v in found]
        whole_days = self.clock == 0 if self.unit != "seconds" else not (self.origin % DAY or self.step % DAY)
        texts = found.astype("datetime64[s]").astype(str)
        return [str(t)[:10] if whole_days else str(t).replace("T", " ") for t in texts]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Calendar:
        return Calendar(**data)


def seconds_of(texts: Sequence[str]) -> np.ndarray:
    """int64 seconds since 1970 of `YYYY-MM-DD HH:MM:SS`."""
    return np.array([t.replace(" ", "T") for t in texts], "datetime64[s]").astype(np.int64)


def infer(series: Sequence[np.ndarray], numbers: bool) -> Calendar:
    """The calendar of one or more series of stamps, each ascending without repeats.  Raises Irregular.

    numbers: the stamps are plain numbers, not seconds.
    """
    gaps = np.concatenate([np.diff(s) for s in series] or [np.empty(0)])
    if not len(gaps):
        raise Irregular("every series has one stamp only; a calendar needs at least two")
    every = np.concatenate(series)
    usual = _mode(gaps)
    first = int(min(s[0] for s in series))
    if numbers:
        if not (np.mod(every, 1) == 0).all():
            raise Irregular("the stamps are not whole numbers; use dates, or count the steps")
        yearly = usual == 1 and YEARS[0] <= every.min() and every.max() <= YEARS[1]
        calendar = Calendar(
            "yearly" if yearly else f"every {int(usual)}" if usual > 1 else "every 1", "numbers", int(usual), first
        )
    elif usual >= 28 * DAY and len(np.unique(gaps)) > 1:
        calendar = _months(every)
    elif usual % (28 * DAY) == 0 or usual < 28 * DAY:
        name = next((n for n, s in SECONDS.items() if s == usual), f"every {_told(int(usual))}")
        calendar = Calendar(name, "seconds", int(usual), first)
        days = (every // DAY).astype("datetime64[D]")
        if usual == DAY and len(every) >= 10 and np.is_busday(days).all() and (gaps == 3 * DAY).any():
            origin = int(np.busday_count(np.datetime64("1970-01-01"), np.datetime64(first // DAY, "D")))
            calendar = Calendar("working days", "working days", 1, origin, clock=first % DAY)
    else:
        calendar = _months(every)
    spans = sum(calendar.steps(s[[0, -1]]) @ [-1, 1] + 1 for s in series)
    if len(every) < (1 - MOST_GAPS) * spans:
        raise Irregular(
            f"only {len(every) / spans:.0%} of the steps ({calendar.name}) between the first and the last stamp have a row"
        )
    return calendar


def seasons(calendar: Calendar, longest: int) -> tuple[int, ...]:
    """Lengths of season that a series of `longest` values can show: at least two whole ones.  (1,) for none."""
    usual = SEASONS.get(calendar.name)
    if usual is None:
        usual = (DAY // calendar.step,) if calendar.unit == "seconds" and calendar.step < DAY else (1,)
    return tuple(m for m in usual if m > 1 and longest >= 2 * m + 1) or (1,)


def seasons_of_values(values: np.ndarray) -> tuple[int, ...]:
    """The season of a series whose calendar tells none: the first high peak of its autocorrelation, after removing a
    line; (1,) for none."""
    n = len(values)
    if n < 16:
        return (1,)
    t = np.arange(n)
    rest = values - np.polyval(np.polyfit(t, values, 1), t)
    power = np.abs(np.fft.rfft(rest, 2 * n)) ** 2
    acf = np.fft.irfft(power)[: n // 3]
    if acf[0] <= 0:
        return (1,)
    acf = acf / acf[0] * n / np.maximum(1, n - np.arange(len(acf)))
    peaks = [
        k
        for k in range(3, len(acf) - 1)
        if acf[k] > acf[k - 1] and acf[k] >= acf[k + 1] and acf[k] > 0.3 + 2 / np.sqrt(n)
    ]
    if not peaks:
        return (1,)
    best = max(acf[k] for k in peaks)
    return (next(k for k in peaks if acf[k] >= 0.9 * best),)


def _months(stamps: np.ndarray) -> Calendar:
    months, day, last, clock = _parts(stamps)
    is_last = bool((day == last).all()) and len(np.unique(day)) > 1
    kept = 32 if is_last else int(day.max())
    order = np.unique(months)
    step = int(_mode(np.diff(order))) if len(order) > 1 else 1
    name = next((n for n, s in MONTHS.items() if s == step), f"every {step} months")
    calendar = Calendar(name, "months", step, int(order[0]), kept, int(clock[0]))
    if not (np.minimum(kept, last) == day).all():
        row = int(np.flatnonzero(np.minimum(kept, last) != day)[0])
        raise Irregular("the stamps are about a month or more apart, on different days of the month", row)
    return calendar


def _parts(stamps: np.ndarray) -> tuple[np.ndarray, ...]:
    """(months since 0000-01, day of the month, days of the month, seconds after midnight)."""
    days, clock = np.divmod(np.asarray(stamps, np.int64), DAY)
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    first = months.astype("datetime64[D]")
    last = ((months + 1).astype("datetime64[D]") - first).astype(np.int64)
    return months.astype(np.int64) + 1970 * 12, (dates - first).astype(np.int64) + 1, last, clock


def _mode(values: np.ndarray) -> float:
    """The most frequent value, the smallest of several."""
    found, counts = np.unique(values, return_counts=True)
    return float(found[np.argmax(counts)])


def _told(seconds: int) -> str:
    for unit, size in (("weeks", 7 * DAY), ("days", DAY), ("hours", 3600), ("minutes", 60)):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"
