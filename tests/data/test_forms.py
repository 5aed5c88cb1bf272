"""Numbers and dates as people write them: one value is read as a column of them, and nothing is read that is none."""

from __future__ import annotations

from datetime import datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.data.dateforms import FORMS, parse_date, parse_dates
from assay.data.loaded import ColumnFormat
from assay.data.numberforms import STYLES, parse_number, parse_numbers, style_of


@pytest.mark.parametrize(
    ("text", "decimal", "thousands", "value"),
    [
        ("1234.5", ".", "", 1234.5),
        ("1,234.5", ".", ",", 1234.5),
        ("1.234,5", ",", ".", 1234.5),
        ("1 234,5", ",", " ", 1234.5),
        ("1\u202f234\u00a0567,25", ",", " ", 1234567.25),
        ("1'234.5", ".", "'", 1234.5),
        ("12,34,567", ".", ",", 1234567),
        ("12.5 %", ".", "", 12.5),
        ("$1,234", ".", ",", 1234),
        ("-$5", ".", "", -5),
        ("$-5", ".", "", -5),
        ("1.200,50 €", ",", ".", 1200.5),
        ("EUR 7", ".", "", 7),
        ("(1,234)", ".", ",", -1234),
        ("(£3.50)", ".", "", -3.5),
        ("\u221212", ".", "", -12),
        ("+1e3", ".", "", 1000),
        (".5", ".", "", 0.5),
        ("5.", ".", "", 5),
        ("1.5", ",", ".", 1.5),  # plain where the form cannot mean it
        ("1,23", ".", ",", None),
        ("0,123", ".", ",", None),
        ("1,2345", ".", ",", None),
        ("12 kg", ".", "", None),
        ("(12", ".", "", None),
        ("--3", ".", "", None),
        ("-(3)", ".", "", None),
        ("1_000", ".", "", None),
        ("1e999", ".", "", None),
        ("0x10", ".", "", None),
        ("", ".", "", None),
    ],
)
def test_a_number_means_what_people_mean_by_it(text: str, decimal: str, thousands: str, value: float | None) -> None:
    form = ColumnFormat(decimal=decimal, thousands=thousands)
    assert parse_number(text, form) == value
    assert parse_numbers(pl.Series([text]), form).to_list() == [value]


@settings(max_examples=80, deadline=None)
@given(
    texts=st.lists(st.text("0123456789.,-+()%$€ 'eE", min_size=1, max_size=12), min_size=1, max_size=20),
    style=st.sampled_from(STYLES),
)
def test_one_number_is_read_as_a_column_of_them(texts: list[str], style: tuple[str, str]) -> None:
    form = ColumnFormat(decimal=style[0], thousands=style[1])
    assert parse_numbers(pl.Series(texts), form).to_list() == [parse_number(t, form) for t in texts]


@pytest.mark.parametrize(
    ("texts", "style"),
    [
        (["1,234", "12,345,678", "1"], (".", ",")),
        (["1,5", "2,25"], (",", "")),
        (["0,123", "1,234"], (",", "")),
        (["1.234,5", "7"], (",", ".")),
        (["1 234,5", "7"], (",", " ")),
        (["1,234.5", "7"], (".", ",")),
        (["5", "7.5"], (".", "")),
    ],
)
def test_the_style_of_a_column_is_the_first_that_reads_it_all(texts: list[str], style: tuple[str, str]) -> None:
    assert style_of(pl.Series(texts)) == (*style, 1.0)


@pytest.mark.parametrize(
    ("text", "form", "value"),
    [
        ("2024-02-29", "y-m-d", "2024-02-29 00:00:00"),
        ("2023-02-29", "y-m-d", None),
        ("2024/2/3 4:05", "y-m-d", "2024-02-03 04:05:00"),
        ("2024-02-03T04:05:06.789Z", "y-m-d", "2024-02-03 04:05:06"),
        ("2024-02-03T00:30:00+02:00", "y-m-d", "2024-02-02 22:30:00"),
        ("2024-02-03 23:30 -0130", "y-m-d", "2024-02-04 01:00:00"),
        ("03/04/2024", "d/m/y", "2024-04-03 00:00:00"),
        ("03/04/2024", "m/d/y", "2024-03-04 00:00:00"),
        ("3.4.24", "d/m/y", "2024-04-03 00:00:00"),
        ("3-4-71", "d/m/y", "1971-04-03 00:00:00"),
        ("03/04/2024 12:15 AM", "m/d/y", "2024-03-04 00:15:00"),
        ("03/04/2024 12:15 pm", "m/d/y", "2024-03-04 12:15:00"),
        ("03/04/2024 13:15 PM", "m/d/y", None),
        ("31 Dec 2024", "d month y", "2024-12-31 00:00:00"),
        ("Tue, 31-DECEMBER-24", "d month y", "2024-12-31 00:00:00"),
        ("1st of May 2024", "d month y", None),
        ("Sept 1st, 2024", "month d y", "2024-09-01 00:00:00"),
        ("1949-11", "y-m", "1949-11-01 00:00:00"),
        ("1949-13", "y-m", None),
        ("May 2024", "month y", "2024-05-01 00:00:00"),
        ("1970 Q4", "y quarter", "1970-10-01 00:00:00"),
        ("Q2/1970", "quarter y", "1970-04-01 00:00:00"),
        ("2024-W05", "y week", "2024-01-29 00:00:00"),
        ("2024W05-7", "y week", "2024-02-04 00:00:00"),
        ("2021 w1", "y week", "2021-01-04 00:00:00"),
        ("2020-W53-5", "y week", "2021-01-01 00:00:00"),
        ("2021-W53", "y week", None),
        ("2024-W00", "y week", None),
        ("0000-W01", "y week", None),
        ("7:05 PM", "time", "1970-01-01 19:05:00"),
        ("24:00", "time", None),
        ("20240131", "ymd", "2024-01-31 00:00:00"),
        ("0024-01-01", "y-m-d", None),
        ("yesterday", "y-m-d", None),
    ],
)
def test_a_date_means_what_people_mean_by_it(text: str, form: str, value: str | None) -> None:
    assert parse_date(text, form) == value
    assert parse_dates(pl.Series([text]), form).to_list() == [value]


@settings(max_examples=80, deadline=None)
@given(
    texts=st.lists(
        st.from_regex(r"[0-9]{1,4}[-/. ][0-9A-Za-z]{1,4}[-/. ][0-9]{1,4}([ T][0-9]{1,2}:[0-9]{2}( [AP]M|Z|[+-][0-9]{4})?)?", fullmatch=True)
        | st.text("0123456789-/:. QTZap", max_size=12),
        min_size=1,
        max_size=20,
    ),
    form=st.sampled_from(sorted(FORMS)),
)  # fmt: skip
def test_one_date_is_read_as_a_column_of_them(texts: list[str], form: str) -> None:
    assert parse_dates(pl.Series(texts), form).to_list() == [parse_date(t, form) for t in texts]


@settings(max_examples=80, deadline=None)
@given(texts=st.lists(st.from_regex(r"[0-9]{4}[- ]?[Ww][0-9]{1,2}(-?[0-9])?", fullmatch=True), min_size=1, max_size=20))
def test_one_week_is_read_as_a_column_of_them(texts: list[str]) -> None:
    assert parse_dates(pl.Series(texts), "y week").to_list() == [parse_date(t, "y week") for t in texts]


@given(when=st.datetimes(datetime(1000, 1, 2), datetime(2999, 12, 30)))
def test_canonical_text_is_read_under_every_form(when: datetime) -> None:
    text = f"{when:%Y-%m-%d %H:%M:%S}"
    assert all(parse_date(text, form) == text for form in FORMS)
