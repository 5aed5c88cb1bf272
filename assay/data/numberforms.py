"""Numbers as people write them: decimal commas, thousands, percent, money, accounting negatives; one value or a column.

One regular expression for each pair of decimal and thousands characters serves both Python and polars, so a single
value is read exactly as a column of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from assay.data.loaded import ColumnFormat

if TYPE_CHECKING:
    import polars as pl

# as written in a file, for columns of words: what pandas takes for missing, and the error values of spreadsheets
MISSING_WORDS = frozenset(
    ["", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"]
    + ["NULL", "NaN", "None", "n/a", "nan", "null", "NaT", "#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!"]
)
# folded to lower case, for columns whose other values are numbers, dates or truth values: there these say nothing else
MISSING_VALUES = frozenset(w.lower() for w in MISSING_WORDS) | frozenset(
    ["?", "-", "--", "---", ".", "..", "...", "*", "–", "—", "n.a.", "n.a", "nil", "n/d", "nd", "missing", "unknown"]
    + ["inf", "-inf", "+inf", "infinity", "-infinity", "+infinity", "+nan", "(null)", "(none)", "(blank)"]
)

# decimal and thousands characters, in the order they are tried: the first that reads every value is taken
STYLES: tuple[tuple[str, str], ...] = (
    (".", ""), (".", ","), (",", ""), (",", "."), (",", " "), (".", " "), (".", "'"), (".", "’"),
)  # fmt: skip

_CURRENCY = (
    r"(?:(?:US|CA|AU|NZ|HK|C|A|S|R)?\$|[€£¥₹₽₩₺₴₫฿]|Rs\.?|zł|Kč|kr\.?|Ft|CHF|Fr\."
    r"|USD|EUR|GBP|JPY|CNY|RMB|INR|RUB|CAD|AUD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|BRL|MXN|ZAR|TRY|KRW|SGD|HKD)"
)
_SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2212": "-"})


@cache
def _pattern(decimal: str, thousands: str) -> str:
    d, t = re.escape(decimal), re.escape(thousands)
    grouped = rf"[1-9][0-9]{{0,2}}(?:{t}[0-9]{{2,3}})*{t}[0-9]{{3}}|" if thousands else ""
    number = rf"(?:(?:{grouped}[0-9]+)(?:{d}[0-9]*)?|{d}[0-9]+)(?:[eE][+-]?[0-9]+)?"
    return (
        rf"^(?P<open>\()?\s*(?P<sign>[+-])?\s*(?P<before>{_CURRENCY})?\s*(?P<inner>[+-])?(?P<number>{number})"
        rf"\s*(?P<after>{_CURRENCY})?\s*(?P<percent>%)?\s*(?P<close>\))?$"
    )


@cache
def _compiled(decimal: str, thousands: str) -> re.Pattern[str]:
    return re.compile(_pattern(decimal, thousands))


def parse_number(text: str, form: ColumnFormat) -> float | None:
    """One number written in this form, or in plain form where that cannot be mistaken; None if it is none."""
    clean = text.translate(_SPACES).strip()
    value = _parse(clean, form.decimal, form.thousands)
    if value is None and form.decimal != ".":
        value = _parse(clean, ".", "")
    return value


def _parse(text: str, decimal: str, thousands: str) -> float | None:
    match = _compiled(decimal, thousands).match(text)
    if match is None:
        return None
    opened, sign, _, inner, number, _, _, closed = match.groups()
    if (opened is None) != (closed is None) or (sign and inner):
        return None
    if thousands:
        number = number.replace(thousands, "")
    value = float(number.replace(decimal, ".") if decimal != "." else number)
    if not math.isfinite(value):
        return None
    return -value if (opened is not None) != ("-" in (sign, inner)) else value


def parse_numbers(text: pl.Series, form: ColumnFormat) -> pl.Series:
    """`parse_number` for every text of a column.  Float64, null where there is no number."""
    clean = tidy(text)
    values = _parse_all(clean, form.decimal, form.thousands)
    if form.decimal != "." and values.null_count():
        import polars as pl

        values = pl.select(pl.coalesce(values, _parse_all(clean, ".", ""))).to_series()
    return values


def tidy(text: pl.Series) -> pl.Series:
    """Narrow and unbreakable spaces as plain ones, the minus sign as a hyphen, outer space gone."""
    clean = text.str.strip_chars()
    if clean.str.contains("[\u00a0\u202f\u2009\u2212]").any():
        clean = clean.str.replace_all("[\u00a0\u202f\u2009]", " ").str.replace_all("\u2212", "-").str.strip_chars()
    return clean


def _parse_all(clean: pl.Series, decimal: str, thousands: str) -> pl.Series:
    import polars as pl

    parts = clean.str.extract_groups(_pattern(decimal, thousands)).struct.unnest()
    number = pl.col("number")
    if thousands:
        number = number.str.replace_all(thousands, "", literal=True)
    if decimal != ".":
        number = number.str.replace(decimal, ".", literal=True)
    opened, closed = pl.col("open").is_not_null(), pl.col("close").is_not_null()
    sign, inner = pl.col("sign"), pl.col("inner")
    minus = (sign.fill_null("") == "-") | (inner.fill_null("") == "-")
    value = number.cast(pl.Float64, strict=False)
    ok = (opened == closed) & ~(sign.is_not_null() & inner.is_not_null()) & value.is_finite()
    signed = pl.when(opened != minus).then(-value).otherwise(value)
    return parts.select(pl.when(ok).then(signed)).to_series()


def style_of(levels: pl.Series, counts: Sequence[int] | None = None) -> tuple[str, str, float]:
    """The decimal and thousands characters under which most texts are numbers, with the share (0..1) that are.

    Thousands win over a decimal comma when every text reads as both: 1,234 is grouped, 0,123 and 1,5 are not.
    """
    best = (".", "", 0.0)
    clean = tidy(levels)
    for decimal, thousands in STYLES:
        share = float(clean.str.contains(_pattern(decimal, thousands)).fill_null(False).mean() or 0.0)  # type: ignore[arg-type]
        if share > best[2]:
            best = (decimal, thousands, share)
        if share == 1.0:
            break
    return best


def marks_of(levels: pl.Series, decimal: str, thousands: str) -> tuple[bool, str]:
    """Whether values carry a percent sign, and the currency most of them carry ("" if none)."""
    parts = tidy(levels).str.extract_groups(_pattern(decimal, thousands)).struct.unnest()
    money = [m for side in ("before", "after") for m in parts[side].drop_nulls().to_list()]
    return parts["percent"].count() > 0, max(set(money), key=money.count) if money else ""


def is_number(text: str, decimal: str, thousands: str) -> bool:
    """Whether a stripped text is one number in this style."""
    return _compiled(decimal, thousands).match(text) is not None
