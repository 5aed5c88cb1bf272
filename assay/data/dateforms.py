"""Dates and times as people write them, read into `YYYY-MM-DD HH:MM:SS`; one value or a column.

As with numbers, one regular expression for each form serves both Python and polars.  A time zone is taken off by
turning the time to UTC; fractions of a second are dropped.  A time of day alone stands on 1970-01-01.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

CANONICAL = "%Y-%m-%d %H:%M:%S"
FIRST_YEAR, LAST_YEAR = 1000, 2999
PIVOT = 70  # two-digit years from here on are 19xx

_ZONE = r"\s*(?P<zone>Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2})?"
_CLOCK = (
    r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,][0-9]+)?)?\s*(?P<half>[AaPp]\.?[Mm]\.?)?"
)
_TIME = rf"(?:(?:T|,? +){_CLOCK}{_ZONE})?"
_WEEKDAY = r"(?:[A-Za-z]{3,9},? +)?"
_Y4, _Y = r"(?P<year>[0-9]{4})", r"(?P<year>[0-9]{4}|[0-9]{2})"
_M, _D = r"(?P<month>[0-9]{1,2})", r"(?P<day>[0-9]{1,2})"
_NAME, _ORDINAL = r"(?P<name>[A-Za-z]{3,9})", r"(?:st|nd|rd|th)?"

# tried in this order; the two orders of day and month stand side by side
FORMS: dict[str, str] = {
    "y-m-d": rf"^{_Y4}[-/.]{_M}[-/.]{_D}{_TIME}$",
    "m/d/y": rf"^{_M}[-/.]{_D}[-/.]{_Y}{_TIME}$",
    "d/m/y": rf"^{_D}[-/.]{_M}[-/.]{_Y}{_TIME}$",
    "d month y": rf"^{_WEEKDAY}{_D}{_ORDINAL}[-/. ]+{_NAME}\.?[-/, ]+{_Y}{_TIME}$",
    "month d y": rf"^{_WEEKDAY}{_NAME}\.? +{_D}{_ORDINAL},? +{_Y4}{_TIME}$",
    "y-m": rf"^{_Y4}[-/](?P<month>[0-9]{{2}})$",
    "month y": rf"^{_NAME}\.?[-, ]+{_Y4}$",
    "y quarter": rf"^{_Y4}[- ]?[Qq](?P<quarter>[1-4])$",
    "quarter y": rf"^[Qq](?P<quarter>[1-4])[- /]?{_Y4}$",
    "y week": rf"^{_Y4}[- ]?[Ww](?P<week>[0-9]{{1,2}})(?:-?(?P<weekday>[1-7]))?$",  # ISO 8601; a week is its Monday
    "time": rf"^{_CLOCK}$",
    "ymd": rf"^{_Y4}(?P<month>[0-9]{{2}})(?P<day>[0-9]{{2}})$",  # only for columns whose name says date
}

_MONTHS = ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november"]
_MONTHS += ["december"]
MONTH_NAMES: dict[str, int] = {m: i for i, m in enumerate(_MONTHS, 1)} | {m[:3]: i for i, m in enumerate(_MONTHS, 1)}
MONTH_NAMES["sept"] = 9


@cache
def _compiled(form: str) -> re.Pattern[str]:
    return re.compile(FORMS[form])


def parse_date(text: str, form: str) -> str | None:
    """One date written in this form, or in ISO form, as canonical text; None if it is none."""
    value = _parse(text.strip(), form)
    return _parse(text.strip(), "y-m-d") if value is None and form != "y-m-d" else value


def _parse(text: str, form: str) -> str | None:
    match = _compiled(form).match(text)
    if match is None:
        return None
    part = match.groupdict()
    try:
        year = int(part.get("year") or 1970)
        if len(part.get("year") or "1970") == 2:
            year += 1900 if year >= PIVOT else 2000
        day = int(part.get("day") or 1)
        if part.get("week"):
            first = date.fromisocalendar(year, int(part["week"]), int(part.get("weekday") or 1))
            year, month, day = first.year, first.month, first.day
        elif part.get("name"):
            month = MONTH_NAMES[part["name"].lower()]
        else:
            month = 3 * int(part["quarter"]) - 2 if part.get("quarter") else int(part.get("month") or 1)
        hour = int(part.get("hour") or 0)
        half = (part.get("half") or "").lower()
        if half:
            if not 1 <= hour <= 12:
                return None
            hour = hour % 12 + (12 if half[0] == "p" else 0)
        when = datetime(year, month, day, hour, int(part.get("minute") or 0), int(part.get("second") or 0))
        zone = part.get("zone") or ""
        if zone[:1] in ("+", "-"):
            shift = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
            when = when - shift if zone[0] == "+" else when + shift
    except (KeyError, ValueError, OverflowError):
        return None
    return f"{when:{CANONICAL}}" if FIRST_YEAR <= when.year <= LAST_YEAR else None


def parse_dates(text: pl.Series, form: str) -> pl.Series:
    """`parse_date` for every text of a column.  String, null where there is no date."""
    import polars as pl

    clean = text.str.strip_chars()
    values = _parse_all(clean, form)
    if form != "y-m-d" and values.null_count():
        values = pl.select(pl.coalesce(values, _parse_all(clean, "y-m-d"))).to_series()
    return values


def _parse_all(clean: pl.Series, form: str) -> pl.Series:
    import polars as pl

    parts = clean.str.extract_groups(FORMS[form]).struct.unnest()
    matched = clean.str.contains(FORMS[form]).fill_null(False)

    def number(name: str, default: int) -> pl.Expr:
        if name not in parts.columns:
            return pl.lit(default, pl.Int32)
        return pl.col(name).cast(pl.Int32, strict=False).fill_null(default)

    year = number("year", 1970)
    if "year" in parts.columns:
        short = pl.col("year").str.len_bytes() == 2
        year = pl.when(short & (year >= PIVOT)).then(year + 1900).when(short).then(year + 2000).otherwise(year)
    if "name" in parts.columns:
        names = pl.col("name").str.to_lowercase()
        month = names.replace_strict(MONTH_NAMES, default=0, return_dtype=pl.Int32)
    else:
        month = 3 * number("quarter", 1) - 2 if "quarter" in parts.columns else number("month", 1)
    day, weeks_ok = number("day", 1), pl.lit(True)
    if "week" in parts.columns:
        whole = year.clip(1, 9998)
        fourth = pl.date(whole, 1, 4)  # of January: always in week 1
        week = number("week", 0).clip(0, 54)
        when = fourth + pl.duration(days=7 * week - 7 + number("weekday", 1) - fourth.dt.weekday())
        weeks_ok = (when.dt.iso_year() == year) & (week >= 1)
        year, month, day = (p.cast(pl.Int32) for p in (when.dt.year(), when.dt.month(), when.dt.day()))
    hour = number("hour", 0)
    halves_ok: pl.Expr = pl.lit(True)
    if "half" in parts.columns:
        half = pl.col("half").str.to_lowercase().str.slice(0, 1)
        halves_ok = half.is_null() | hour.is_between(1, 12)
        hour = pl.when(half.is_null()).then(hour).otherwise(hour % 12 + pl.when(half == "p").then(12).otherwise(0))
    fields = parts.select(
        year.alias("y"), month.alias("m"), day.alias("d"), hour.alias("h"),
        number("minute", 0).alias("mi"), number("second", 0).alias("s"), (halves_ok & weeks_ok).alias("ok"),
        (pl.col("zone") if "zone" in parts.columns else pl.lit(None, pl.String)).alias("zone"),
        clean.alias("text"),
    ).with_columns(matched.alias("matched"))  # fmt: skip
    y, m, d = pl.col("y"), pl.col("m"), pl.col("d")
    leap = ((y % 4 == 0) & (y % 100 != 0)) | (y % 400 == 0)
    length = pl.when(m == 2).then(pl.when(leap).then(29).otherwise(28)).when(m.is_in([4, 6, 9, 11])).then(30)
    ok = (
        pl.col("matched") & pl.col("ok") & y.is_between(1, 9999) & m.is_between(1, 12) & (d >= 1)
        & (d <= length.otherwise(31)) & (pl.col("h") <= 23) & (pl.col("mi") <= 59) & (pl.col("s") <= 59)
    )  # fmt: skip

    def safe(name: str, fallback: int) -> pl.Expr:
        return pl.when(ok).then(pl.col(name)).otherwise(fallback)

    when = pl.datetime(safe("y", 1970), safe("m", 1), safe("d", 1), safe("h", 0), safe("mi", 0), safe("s", 0))
    zone = pl.col("zone")
    minutes = 60 * zone.str.slice(1, 2).cast(pl.Int64, strict=False) + zone.str.slice(-2).cast(pl.Int64, strict=False)
    east = pl.when(zone.str.starts_with("+")).then(minutes).when(zone.str.starts_with("-")).then(-minutes).otherwise(0)
    when = when - pl.duration(minutes=east.fill_null(0))
    good = ok & when.dt.year().is_between(FIRST_YEAR, LAST_YEAR)
    return fields.select(pl.when(good).then(when.dt.to_string(CANONICAL)).alias("")).to_series()
