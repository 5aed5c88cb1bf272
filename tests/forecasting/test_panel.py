"""Rows to series: calendars, gaps, doubles and irregular stamps."""

from __future__ import annotations

import numpy as np
import pytest

from assay.data.table import ColumnType, Table, Words
from assay.errors import DataError
from assay.forecasting.panel import Layout, Series, continued, read_panel, window
from assay.forecasting.stamps import seasons_of_values


def table(stamps: list[str], values: list[float], group: list[str] | None = None) -> Table:
    columns = {"t": Words.of(stamps), "y": np.array(values, float)}
    types = {"t": ColumnType.DATETIME, "y": ColumnType.NUMBER}
    if group is not None:
        columns["g"], types["g"] = Words.of(group), ColumnType.CATEGORY
    return Table(columns, types)


def dates(start: str, n: int, step: int, unit: str) -> list[str]:
    found = np.datetime64(start) + np.arange(n) * np.timedelta64(step, unit)
    return [str(t).replace("T", " ") for t in found.astype("datetime64[s]")]


@pytest.mark.parametrize(
    ("stamps", "name", "following"),
    [
        (dates("2024-01-01T00", 30, 1, "h"), "hourly", "2024-01-02 06:00:00"),
        (dates("2024-02-01", 20, 1, "D"), "daily", "2024-02-21"),
        (dates("2024-01-01", 20, 7, "D"), "weekly", "2024-05-20"),
        (dates("2023-11", 20, 1, "M"), "monthly", "2025-07-01"),
        (dates("2020-01", 9, 3, "M"), "quarterly", "2022-04-01"),
        (dates("2000", 9, 1, "Y"), "yearly", "2009-01-01"),
        ([f"2024-{m:02d}-{d}" for m, d in ((1, 31), (2, 29), (3, 31), (4, 30))], "monthly", "2024-05-31"),
    ],
)
def test_calendars_are_inferred_and_go_on(stamps: list[str], name: str, following: str) -> None:
    panel = read_panel(table(stamps, [1.0] * len(stamps)), Layout("t", ("y",), None))
    assert panel.calendar.name == name
    assert panel.calendar.texts(np.array([len(stamps)])) == [following]


def test_working_days_go_on_after_the_weekend() -> None:
    days = [d for d in dates("2024-01-01", 26, 1, "D") if np.is_busday(np.datetime64(d[:10]))]
    panel = read_panel(table(days, [1.0] * len(days)), Layout("t", ("y",), None))
    assert (panel.calendar.name, panel.filled) == ("working days", 0)
    assert panel.calendar.texts(np.array([len(days)])) == ["2024-01-29"]


def test_missing_stamps_and_values_are_interpolated_and_ends_left_out() -> None:
    stamps = [d for i, d in enumerate(dates("2024-01-01", 10, 1, "D")) if i != 3]
    values = [0.0, 1, 2, 4, float("nan"), 6, 7, 8, float("nan")]
    panel = read_panel(table(stamps, values), Layout("t", ("y",), None))
    (series,) = panel.series
    np.testing.assert_allclose(series.values, np.arange(9.0))
    assert (panel.filled, panel.left_out) == (2, 1)


def test_double_stamps_are_refused_with_both_rows() -> None:
    stamps = dates("2024-01-01", 6, 1, "D")
    with pytest.raises(DataError, match="rows 3 and 7 have the same stamp .*group_column") as caught:
        read_panel(table([*stamps, stamps[2]], [1.0] * 7), Layout("t", ("y",), None))
    assert caught.value.row == 7


def test_the_same_stamp_in_two_series_is_no_double() -> None:
    stamps = dates("2024-01-01", 6, 1, "D")
    panel = read_panel(table(stamps * 2, list(map(float, range(12))), ["a"] * 6 + ["b"] * 6), Layout("t", ("y",), "g"))
    assert [s.name for s in panel.series] == ["a", "b"]
    assert panel.series[1].values.tolist() == [6, 7, 8, 9, 10, 11]


def test_irregular_stamps_are_refused_with_the_way_out() -> None:
    stamps = [*dates("2024-01-01", 6, 1, "D"), "2024-01-08 07:13:00"]
    with pytest.raises(DataError, match="row 7 .*irregular; aggregate"):
        read_panel(table(stamps, [1.0] * 7), Layout("t", ("y",), None))


def test_short_histories_are_continued_into_the_past_by_their_first_season() -> None:
    assert window(np.array([1.0, 2, 3, 4]), 7, 3).tolist() == [1, 2, 3, 1, 2, 3, 4]


def test_a_season_is_found_in_values() -> None:
    t = np.arange(60)
    assert seasons_of_values(np.sin(2 * np.pi * t / 10) + 0.1 * t) == (10,)
    assert seasons_of_values(np.random.default_rng(0).normal(size=60)) == (1,)


def known_series() -> dict[str, object]:
    return {"name": "", "next": 10, "window": [4.0, 5, 6, 7, 8, 9]}


def test_new_rows_go_on_where_the_training_data_ended() -> None:
    joined = continued(Series("", 10, np.array([20.0])), known_series())
    assert (joined.first, joined.values.tolist()) == (4, [4, 5, 6, 7, 8, 9, 20])
    within = continued(Series("", 8, np.array([1.0, 2, 3])), known_series())
    assert (within.first, within.values.tolist()) == (4, [4, 5, 6, 7, 1, 2, 3])


def test_a_history_from_before_or_long_after_the_training_data_stands_alone() -> None:
    for first in (3, 30):
        alone = Series("", first, np.array([1.0, 2]))
        assert continued(alone, known_series()) is alone


def test_a_short_gap_after_the_training_data_is_interpolated() -> None:
    past = {"name": "", "next": 20, "window": [float(v) for v in range(20)]}
    joined = continued(Series("", 21, np.array([21.0])), past)
    assert joined.values.tolist()[-4:] == [18, 19, 20, 21]
