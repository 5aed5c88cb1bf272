"""From columns of text to typed columns: every rule looks at the whole column, none at a sample alone.

Order: numbers written plainly; then, on the distinct values only, missing tokens, truth values, numbers in other styles,
dates, and words (category, text or id).  What two readings fit is decided by the other columns of the file where they
are clear, and is said in a warning where they are not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from assay.data.coded import Coded, Inferred, encode, mixed, recode, split_missing, style_warnings, truth_of, words_of
from assay.data.dateforms import FORMS, parse_dates
from assay.data.forced import forced
from assay.data.loaded import ColumnFormat, DataWarning
from assay.data.numberforms import MISSING_VALUES, MISSING_WORDS, marks_of, parse_numbers, style_of
from assay.data.table import ColumnType, Table, Words
from assay.errors import DataError

if TYPE_CHECKING:
    import polars as pl

EXACT = 2.0**53  # integers past this are not exact as float64
MOSTLY = 0.95  # share of values that must be numbers (or dates) for the rest to be taken as missing
SAMPLE = 300  # distinct values looked at before a column is parsed in full

_ID_WORDS = frozenset(["id", "ids", "uuid", "guid", "key", "pk"])
_COUNTER_NAMES = frozenset(
    [
        "index",
        "idx",
        "row",
        "rows",
        "rownum",
        "rowid",
        "rowno",
        "rownumber",
        "rownames",
        "rowname",
        "no",
        "nr",
        "#",
        "n",
    ]
    + ["unnamed: 0", "obs", "observation", "record", "level_0"]
)
_TIME_WORDS = re.compile(
    r"year|month|week|day|date|time|hour|minute|second|age|period|step|quarter|position|rank", re.I
)
_SPACELESS = re.compile("[\u0e01-\u0e3a\u0e40-\u0ede\u1000-\u109f\u1780-\u17d3\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_DATE_NAME = re.compile(r"date|datum|day|time|(^|_)dt(_|$)|ymd", re.I)
_NUMERIC = frozenset([ColumnType.NUMBER, ColumnType.INTEGER])


@dataclass(frozen=True)
class Hint:
    """What the clear columns of the file say about the unclear ones: its decimal character, its order of dates."""

    decimal: str = ""
    dates: str = ""


def infer_table(
    texts: Mapping[str, pl.Series], overrides: Mapping[str, ColumnType] | None = None
) -> tuple[Table, dict[str, ColumnFormat], list[DataWarning]]:
    """Types, values and formats of all columns.  Raises DataError for an override that does not fit."""
    wanted = overrides or {}
    for name in wanted:
        if name not in texts:
            raise DataError(f"a type is set for {name!r}, which is not a column", column=name, code="validation_error")
    found = {
        name: infer_column(name, text, wanted.get(name), first=i == 0, n_columns=len(texts))
        for i, (name, text) in enumerate(texts.items())
    }
    hint = _hint(found)
    if hint != Hint():
        for i, (name, text) in enumerate(texts.items()):
            if found[name].doubt:
                found[name] = infer_column(name, text, wanted.get(name), hint=hint, first=i == 0, n_columns=len(texts))
    table = Table({n: f.column for n, f in found.items()}, {n: f.type for n, f in found.items()})
    return table, {n: f.format for n, f in found.items()}, [w for f in found.values() for w in f.warnings]


def infer_column(
    name: str,
    text: pl.Series,
    override: ColumnType | None = None,
    *,
    hint: Hint = Hint(),
    first: bool = False,
    n_columns: int = 2,
) -> Inferred:
    """One column of text, nulls and empty texts missing."""
    if override is None or override in _NUMERIC:
        plain = _plain(name, text, override, hint)
        if plain is not None:
            if override is None and _is_id_number(name, plain, first, n_columns):
                return _id(name, encode(text))
            constant = _as_constant(plain, text) if override is None else None
            return constant or plain
    coded = encode(text)
    if override is not None:
        return forced(name, coded, override)
    return (
        _constant(coded)
        or _boolean(coded)
        or _styled(name, coded, hint)
        or _dated(name, coded, hint)
        or _worded(name, coded)
    )


# numbers as programs write them


def _plain(name: str, text: pl.Series, override: ColumnType | None, hint: Hint) -> Inferred | None:
    """The column if every value is missing or a number without grouping, decimal comma or sign of unit."""
    import polars as pl

    values = text.cast(pl.Float64, strict=False)
    unread = text.filter(values.is_null() & text.is_not_null())
    if values.null_count() == len(text):
        return None
    tokens: list[str] = unread.unique(maintain_order=True).to_list() if len(unread) else []
    if any(t.strip().lower() not in MISSING_VALUES for t in tokens[:200]) or len(tokens) > 200:
        return None
    infinite = values.is_not_null() & ~values.is_finite()
    if infinite.any():
        tokens += text.filter(infinite).unique(maintain_order=True).to_list()
        values = values.set(infinite, None)
        if values.null_count() == len(text):
            return None
    if override is None and _is_code(text, values):
        return None
    if hint.decimal == "," and text.drop_nulls().str.contains(r"^-?[1-9][0-9]{0,2}(\.[0-9]{3})+$").all():
        return None  # 1.234 in a file with decimal commas: thousands
    whole = text.cast(pl.Int64, strict=False)
    is_whole = whole.null_count() == values.null_count()
    if override is None and is_whole and _DATE_NAME.search(name):
        dated = _day_numbers(text, whole)
        if dated is not None:
            return dated
    kind = override or (ColumnType.INTEGER if is_whole else ColumnType.NUMBER)
    grouped = not is_whole and bool(text.head(SAMPLE).drop_nulls().str.contains(r"^-?[1-9][0-9]{0,2}\.[0-9]{3}$").all())
    missing = tuple(t for t in tokens if t.strip())
    return Inferred(_floats(values), kind, ColumnFormat(missing=missing), doubt="numbers" if grouped else "")


def _is_code(text: pl.Series, values: pl.Series) -> bool:
    """Digits that are a name and not an amount: a leading zero, or more of them than a float64 can tell apart."""
    if text.str.contains(r"^\s*[+-]?0[0-9]+\s*$").any():
        return True
    top = values.abs().max()
    return isinstance(top, float) and top > EXACT and bool(text.str.contains(r"^\s*[+-]?[0-9]{16,}\s*$").any())


def _day_numbers(text: pl.Series, whole: pl.Series) -> Inferred | None:
    """20240131 in a column whose name says date."""
    if whole.min() < 19000101 or whole.max() > 20991231:  # type: ignore[operator]
        return None
    coded = encode(text)
    days = parse_dates(coded.levels, "ymd")
    missing = coded.levels.str.strip_chars().str.to_lowercase().is_in(list(MISSING_VALUES))
    if (days.is_null() & ~missing).any():
        return None
    return Inferred(recode(coded, days), ColumnType.DATETIME, ColumnFormat(dates="ymd"))


def _floats(values: pl.Series) -> np.ndarray:
    return np.array(values.to_numpy(), dtype=np.float64)  # null becomes NaN; a copy, so that it is writable and ours


def _as_constant(found: Inferred, text: pl.Series) -> Inferred | None:
    column = found.column
    if not isinstance(column, np.ndarray) or len(column) == 0 or not (column == column[0]).all():
        return None
    return Inferred(words_of(encode(text)), ColumnType.CONSTANT, found.format)


def _is_id_number(name: str, found: Inferred, first: bool, n_columns: int) -> bool:
    """All-distinct integers under a name that says id, or a counter of rows."""
    column = found.column
    if (
        found.type is not ColumnType.INTEGER
        or not isinstance(column, np.ndarray)
        or len(column) < 3
        or np.isnan(column).any()
    ):
        return False
    counts_rows = bool(column[0] in (0, 1) and (np.diff(column) == 1).all())
    if counts_rows:
        called = name.strip().lower() in _COUNTER_NAMES or re.fullmatch(r"column_\d+", name) is not None
        plain_first = first and n_columns >= 3 and len(name) > 1 and not _TIME_WORDS.search(name)
        return called or plain_first or says_id(name)
    return says_id(name) and len(np.unique(column)) == len(column)


def says_id(name: str) -> bool:
    """customer_id, PassengerId, UUID; not paid or hybrid."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return bool(parts) and (parts[-1].lower() in _ID_WORDS or parts[0].lower() in ("uuid", "guid"))


# everything else, on distinct values


def _constant(coded: Coded) -> Inferred | None:
    """One value everywhere, or none at all.  One value with gaps is a category: the gaps may tell something."""
    missing, gone, tokens = split_missing(coded)
    if gone.all():
        return Inferred(words_of(coded, missing), ColumnType.CONSTANT, ColumnFormat(missing=tokens))
    words = words_of(coded)
    if len(words.levels) == 1 and (words.codes >= 0).all():
        return Inferred(words, ColumnType.CONSTANT)
    return None


def _boolean(coded: Coded) -> Inferred | None:
    missing, gone, tokens = split_missing(coded)
    if (~gone).sum() != 2:
        return None
    levels = coded.levels.filter(~missing).to_list()
    pair = truth_of(levels)
    if pair is None:
        return None
    form = ColumnFormat(true=pair[0], false=pair[1], missing=tokens)
    return Inferred(words_of(coded, missing), ColumnType.BOOLEAN, form)


def _styled(name: str, coded: Coded, hint: Hint) -> Inferred | None:
    """Numbers with thousands, a decimal comma, percent, money or in parentheses; or numbers with a few odd words."""
    missing, gone, tokens = split_missing(coded)
    rest, counts = coded.levels.filter(~missing), coded.counts[~gone]
    if not _has_digits(rest) or rest.str.contains(r"^\s*[+-]?0[0-9]+\s*$").any():
        return None
    if style_of(rest.head(SAMPLE))[2] < MOSTLY / 2:
        return None
    decimal, thousands, _share = style_of(rest)
    doubt = ""
    if (decimal, thousands) == (".", ",") and rest.str.contains(r"^\D*[1-9][0-9]{0,2},[0-9]{3}\D*$").all():
        doubt = "numbers"
        if hint.decimal == ",":
            decimal, thousands = ",", ""
    elif hint.decimal == "," and (decimal, thousands) == (".", ""):
        decimal, thousands = ",", "."
    form = ColumnFormat(decimal=decimal, thousands=thousands)
    values = parse_numbers(rest, form)
    read = values.is_not_null().to_numpy()
    if not read.all() and not _carries(counts, read):
        return None
    numbers = values.to_numpy()[read]
    if (np.abs(numbers) > EXACT).any():
        return None
    percent, currency = marks_of(rest, decimal, thousands)
    form = replace(form, percent=percent, currency=currency, missing=tokens)
    table = np.full(len(coded.levels) + 1, np.nan)
    table[:-1][~gone] = values.to_numpy()
    whole = bool((numbers == np.floor(numbers)).all()) and not rest.str.contains(decimal, literal=True).any()
    kind = ColumnType.INTEGER if whole else ColumnType.NUMBER
    return Inferred(table[coded.codes], kind, form, tuple(style_warnings(name, form, rest, counts, read)), doubt)


def _has_digits(levels: pl.Series) -> bool:
    """A cheap look before the dear ones: number and date forms take milliseconds each to compile."""
    return bool((levels.head(SAMPLE).str.contains("[0-9]").mean() or 0.0) >= MOSTLY / 2)  # type: ignore[operator]


def _carries(counts: np.ndarray, read: np.ndarray) -> bool:
    """Whether nearly all rows were read, and enough different ones that a category is out of the question."""
    return bool(read.sum() > 20 and counts[read].sum() >= MOSTLY * counts.sum())


def _dated(name: str, coded: Coded, hint: Hint) -> Inferred | None:
    missing, gone, tokens = split_missing(coded)
    rest, counts = coded.levels.filter(~missing), coded.counts[~gone]
    if not _has_digits(rest):
        return None
    sample = rest.head(SAMPLE).str.strip_chars()
    forms = [f for f in FORMS if f != "ymd" and (sample.str.contains(FORMS[f]).mean() or 0.0) >= MOSTLY]  # type: ignore[operator]
    if not forms:
        return None
    parsed = {f: parse_dates(rest, f) for f in forms}
    scores = {f: int(counts[p.is_not_null().to_numpy()].sum()) for f, p in parsed.items()}
    best = max(forms, key=lambda f: scores[f])
    warnings: list[DataWarning] = []
    doubt = ""
    if {"m/d/y", "d/m/y"} <= set(forms) and scores["m/d/y"] == scores["d/m/y"] == scores[best] and best == "m/d/y":
        doubt = "dates"
        told = hint.dates or _same_day(parsed)
        best = told or ("d/m/y" if "." in str(sample[0]) else "m/d/y")
        if not told and "." not in str(sample[0]) and not parsed["m/d/y"].equals(parsed["d/m/y"]):
            warnings.append(_ambiguous(name, str(sample[0])))
    read = parsed[best].is_not_null().to_numpy()
    if not read.any() or (not read.all() and not _carries(counts, read)):
        return None
    if not read.all():
        warnings.append(mixed(name, "dates", rest, counts, read))
    full = np.full(len(coded.levels), None, dtype=object)
    full[~gone] = parsed[best].to_list()
    import polars as pl

    words = recode(coded, pl.Series("", full.tolist(), dtype=pl.String))
    return Inferred(words, ColumnType.DATETIME, ColumnFormat(dates=best, missing=tokens), tuple(warnings), doubt)


def _same_day(parsed: Mapping[str, pl.Series]) -> str:
    """The order in which three dates or more lie on the same day of different months, as monthly figures do; "" where
    neither or both do."""
    months = []
    for form in ("m/d/y", "d/m/y"):
        dates = parsed[form].drop_nulls().str.slice(0, 10).unique()
        if len(dates) >= 3 and dates.str.slice(8, 2).n_unique() == 1 and dates.str.slice(5, 2).n_unique() > 1:
            months.append(form)
    return months[0] if len(months) == 1 else ""


def _ambiguous(name: str, example: str) -> DataWarning:
    return DataWarning(
        "ambiguous_dates",
        name,
        f"dates of {name!r} such as {example!r} can be read month first or day first; they are read month first. "
        f"Write them as YYYY-MM-DD to be sure",
    )


def _hint(found: Mapping[str, Inferred]) -> Hint:
    clear = [f for f in found.values() if not f.doubt]
    decimal = "," if any(f.format.decimal == "," for f in clear) else ""
    orders = {f.format.dates for f in clear} & {"m/d/y", "d/m/y"}
    return Hint(decimal, orders.pop() if len(orders) == 1 else "")


# words


def _worded(name: str, coded: Coded) -> Inferred:
    words = words_of(coded)
    kind = _kind_of_words(name, words)
    lost = tuple(
        sorted(
            {
                t.strip()
                for t in coded.levels.filter(coded.levels.str.strip_chars().is_in(list(MISSING_WORDS)))
                if t.strip()
            }
        )
    )
    form = ColumnFormat(missing=lost)
    if kind is ColumnType.ID:
        return Inferred(words, kind, form, (_id_warning(name),))
    said: tuple[DataWarning, ...] = ()
    if lost:
        n = int((words.codes < 0).sum())
        said = (
            DataWarning(
                "missing_words",
                name,
                f"{n} cells of {name!r} are read as missing, those with {', '.join(lost)} included",
            ),
        )
    return Inferred(words, kind, form, said)


def _kind_of_words(name: str, words: Words) -> ColumnType:
    n, k = int((words.codes >= 0).sum()), len(words.levels)
    sample = [str(v) for v in words.levels[:2000]]
    # a script without spaces still has words, of about two characters
    n_words = float(np.mean([v.count(" ") + 1 + len(_SPACELESS.findall(v)) // 2 for v in sample]))
    length = float(np.mean([len(v) for v in sample]))
    no_spaces = n_words < 1.1
    if k == n and n >= 3 and ((no_spaces and (says_id(name) or n >= 50)) or name.strip().lower() in _COUNTER_NAMES):
        return ColumnType.ID
    long = (n_words >= 4 and k >= 20 and k > 0.05 * n) or (n_words >= 2.8 and k >= 5 and k > 0.5 * n)
    if long or (length >= 50 and k >= 20):
        return ColumnType.TEXT
    return ColumnType.CATEGORY


def _id(name: str, coded: Coded) -> Inferred:
    return Inferred(words_of(coded), ColumnType.ID, ColumnFormat(), (_id_warning(name),))


def _id_warning(name: str) -> DataWarning:
    return DataWarning("id_like", name, f"{name!r} identifies rows and is left out; set its type to use it")
