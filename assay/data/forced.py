"""A column read as the type that a user has set for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.data.coded import Coded, Inferred, mixed, recode, split_missing, style_warnings, truth_of, words_of
from assay.data.dateforms import FORMS, parse_dates
from assay.data.loaded import ColumnFormat
from assay.data.numberforms import marks_of, parse_numbers, style_of
from assay.data.table import ColumnType
from assay.errors import DataError

if TYPE_CHECKING:
    import polars as pl


def forced(name: str, coded: Coded, kind: ColumnType) -> Inferred:
    """Values that do not fit are missing, with a warning.  Raises DataError when none fits."""
    if kind in (ColumnType.NUMBER, ColumnType.INTEGER):
        return _forced_number(name, coded, kind)
    if kind is ColumnType.DATETIME:
        return _forced_date(name, coded)
    if kind is ColumnType.BOOLEAN:
        return _forced_boolean(name, coded)
    return Inferred(words_of(coded), kind)


def _forced_number(name: str, coded: Coded, kind: ColumnType) -> Inferred:
    missing, gone, tokens = split_missing(coded)
    rest, counts = coded.levels.filter(~missing), coded.counts[~gone]
    decimal, thousands, _ = style_of(rest)
    form = ColumnFormat(decimal=decimal, thousands=thousands)
    values = parse_numbers(rest, form)
    read = values.is_not_null().to_numpy()
    if len(rest) and not read.any():
        raise _misfit(name, kind, rest)
    percent, currency = marks_of(rest, decimal, thousands)
    form = replace(form, percent=percent, currency=currency, missing=tokens)
    table = np.full(len(coded.levels) + 1, np.nan)
    table[:-1][~gone] = values.to_numpy()
    return Inferred(table[coded.codes], kind, form, tuple(style_warnings(name, form, rest, counts, read)))


def _forced_date(name: str, coded: Coded) -> Inferred:
    import polars as pl

    missing, gone, tokens = split_missing(coded)
    rest, counts = coded.levels.filter(~missing), coded.counts[~gone]
    parsed = {f: parse_dates(rest, f) for f in FORMS}
    best = max(FORMS, key=lambda f: counts[parsed[f].is_not_null().to_numpy()].sum())
    read = parsed[best].is_not_null().to_numpy()
    if len(rest) and not read.any():
        raise _misfit(name, ColumnType.DATETIME, rest)
    full = np.full(len(coded.levels), None, dtype=object)
    full[~gone] = parsed[best].to_list()
    words = recode(coded, pl.Series("", full.tolist(), dtype=pl.String))
    said = () if read.all() else (mixed(name, "dates", rest, counts, read),)
    return Inferred(words, ColumnType.DATETIME, ColumnFormat(dates=best, missing=tokens), said)


def _forced_boolean(name: str, coded: Coded) -> Inferred:
    missing, _gone, tokens = split_missing(coded)
    levels: list[Any] = coded.levels.filter(~missing).to_list()
    if len(levels) > 2:
        raise _misfit(name, ColumnType.BOOLEAN, coded.levels.filter(~missing))
    pair = truth_of(levels) if len(levels) == 2 else None
    if pair is None:
        ordered = sorted(levels, reverse=True)  # 1 before 0; otherwise only a rule that is the same every time
        pair = (ordered[0] if ordered else "", ordered[1] if len(ordered) > 1 else "")
    form = ColumnFormat(true=pair[0], false=pair[1], missing=tokens)
    return Inferred(words_of(coded, missing), ColumnType.BOOLEAN, form)


def _misfit(name: str, kind: ColumnType, rest: pl.Series) -> DataError:
    shown = ", ".join(repr(str(v)[:40]) for v in rest.head(3).to_list())
    return DataError(
        f"column {name!r} cannot be read as {kind.value}: it holds {shown}", column=name, code="validation_error"
    )
