"""Types of columns: by every value, with the doubtful ones said."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from assay.data.infer import Inferred, infer_column, infer_table, says_id
from assay.data.table import ColumnType, Words

T = ColumnType


def infer(values: list[str | None], name: str = "x", **options: bool | int) -> Inferred:
    return infer_column(name, pl.Series(values, dtype=pl.String), **options)  # type: ignore[arg-type]


def said(found: Inferred) -> set[str]:
    return {w.code for w in found.warnings}


WORDS = [f"the quick brown fox number {i} jumps" for i in range(30)]

CASES: dict[str, tuple[list[str | None], ColumnType]] = {
    "whole numbers": (["1", "2", "-3"], T.INTEGER),
    "zeros and ones": (["0", "1", "1"], T.INTEGER),
    "numbers": (["1", "2.5", "1e3"], T.NUMBER),
    "numbers with gaps": (["1.5", "", None, "NA", "?", "-", "n/a", "NaN", "#N/A", "None", "2"], T.NUMBER),
    "numbers and infinities": (["1.5", "inf", "-Infinity", "2"], T.NUMBER),
    "spaces around": ([" 1", "2 ", "3"], T.INTEGER),
    "decimal comma": (["1,5", "2,25", "3"], T.NUMBER),
    "thousands": (["1,234", "2,000,000", "7"], T.INTEGER),
    "percent": (["5%", "7.5 %", "10%"], T.NUMBER),
    "money": (["$1,234.50", "($3.00)", "$7"], T.NUMBER),
    "leading zeros": (["01234", "99999", "00001", "01234"], T.CATEGORY),
    "zero itself": (["0", "0.5", "10"], T.NUMBER),
    "too long for a float": (["12345678901234567", "12345678901234568", "12345678901234567"], T.CATEGORY),
    "truth": (["yes", "no", "no"], T.BOOLEAN),
    "truth in capitals": (["T", "F", "T"], T.BOOLEAN),
    "truth with a gap": (["y", "?", "n"], T.BOOLEAN),
    "two words": (["up", "down", "up"], T.CATEGORY),
    "three ways of truth": (["yes", "no", "Yes"], T.CATEGORY),
    "ISO dates": (["2024-01-01", "2024-12-31"], T.DATETIME),
    "stamps": (["2024-01-01T10:00:00Z", "2024-01-02T10:00:00Z"], T.DATETIME),
    "day first": (["13/01/2024", "01/02/2024"], T.DATETIME),
    "times": (["10:30", "23:59:59"], T.DATETIME),
    "months": (["2024-01", "2024-02"], T.DATETIME),
    "impossible dates": (["2024-02-30", "2024-02-31"], T.CATEGORY),
    "versions": (["1.2.3", "1.2.10"], T.CATEGORY),
    "words": (["a", "b", "a"], T.CATEGORY),
    "ranges": (["1-5", "6-10", "1-5"], T.CATEGORY),
    "text": (list(WORDS), T.TEXT),
    "one word": (["a", "a", "a"], T.CONSTANT),
    "one number": (["7", "7", "7"], T.CONSTANT),
    "nothing": ([None, "", "?"], T.CONSTANT),
    "one word with gaps": (["a", None, "a"], T.CATEGORY),
    "digests": ([f"{i:08x}q" for i in range(60)], T.ID),
}


@pytest.mark.parametrize("case", CASES)
def test_a_column_has_the_type_a_person_would_give_it(case: str) -> None:
    values, kind = CASES[case]
    found = infer(values)
    assert found.type is kind
    assert isinstance(found.column, Words) is (kind not in (T.NUMBER, T.INTEGER))
    assert len(found.column) == len(values)


def test_numbers_keep_their_values_and_gaps() -> None:
    np.testing.assert_array_equal(infer(["1.5", "?", "2"]).column, [1.5, np.nan, 2.0])
    np.testing.assert_array_equal(infer(["1,5", "-", "(2,5)"]).column, [1.5, np.nan, -2.5])
    assert infer(["1.5", "?", "2"]).format.missing == ("?",)


def test_odd_marks_are_categories_among_words_and_gaps_among_numbers() -> None:
    found = infer(["a", "?", "b", "-", "NA"])
    assert isinstance(found.column, Words)
    assert found.column.values().tolist() == ["a", "?", "b", "-", ""]
    assert "missing_words" in said(found)


def test_lower_case_none_is_a_word() -> None:
    assert infer(["none", "some", "none"]).column.values().tolist() == ["none", "some", "none"]  # type: ignore[union-attr]


def test_a_few_words_among_many_numbers_are_gaps_and_said() -> None:
    found = infer([str(i / 7) for i in range(200)] + ["lots"])
    assert found.type is T.NUMBER and "mixed_types" in said(found) and "'lots'" in found.warnings[0].message
    assert infer([str(i % 5) for i in range(200)] + ["lots"]).type is T.CATEGORY


def test_dates_of_either_order_are_doubtful_until_another_column_tells() -> None:
    unclear, clear = ["01/02/2024", "03/04/2024"], ["13/02/2024", "14/04/2024"]
    alone = infer(unclear)
    assert "ambiguous_dates" in said(alone) and alone.format.dates == "m/d/y"
    table, formats, warnings = infer_table({"a": pl.Series(unclear), "b": pl.Series(clear)})
    assert formats["a"].dates == "d/m/y" and not warnings
    assert table.words("a").levels.tolist() == ["2024-02-01 00:00:00", "2024-04-03 00:00:00"]


def test_monthly_dates_lie_on_one_day_of_the_month() -> None:
    first = infer([f"01/{m:02d}/2023" for m in range(1, 13)])
    assert first.format.dates == "d/m/y" and not first.warnings
    assert infer([f"{m:02d}/01/2023" for m in range(1, 13)]).format.dates == "m/d/y"
    assert "ambiguous_dates" in said(infer(["01/01/2023", "01/02/2023"])), "two dates are too few to tell"


def test_dots_between_day_and_month_mean_day_first() -> None:
    found = infer(["01.02.2024", "03.04.2024"])
    assert found.format.dates == "d/m/y" and not found.warnings


def test_doubtful_numbers_follow_the_decimal_comma_of_the_file() -> None:
    columns = {"a": ["1,234", "5,678"], "b": ["1,5", "2,5"], "c": ["1.234", "5.678"]}
    table, _formats, _ = infer_table({n: pl.Series(v) for n, v in columns.items()})
    assert table.numbers("a").tolist() == [1.234, 5.678]
    assert table.numbers("c").tolist() == [1234, 5678]
    alone, _, _ = infer_table({"a": pl.Series(columns["a"]), "c": pl.Series(columns["c"])})
    assert alone.numbers("a").tolist() == [1234, 5678]
    assert alone.numbers("c").tolist() == [1.234, 5.678]


@pytest.mark.parametrize(
    ("name", "values", "options", "is_id"),
    [
        ("customer_id", ["17", "3", "99"], {}, True),
        ("PassengerId", ["17", "3", "99"], {}, True),
        ("customer_id", ["17", "3", "17"], {}, False),
        ("paid", ["17", "3", "99"], {}, False),
        ("index", ["0", "1", "2"], {}, True),
        ("column_1", ["0", "1", "2"], {}, True),
        ("thing", ["1", "2", "3"], {"first": True, "n_columns": 4}, True),
        ("thing", ["1", "2", "3"], {"first": False, "n_columns": 4}, False),
        ("x", ["1", "2", "3"], {"first": True, "n_columns": 2}, False),
        ("year", ["1", "2", "3"], {"first": True, "n_columns": 4}, False),
        ("thing", ["1", "3", "5"], {"first": True, "n_columns": 4}, False),
        ("uuid", ["a1", "b2", "c3"], {}, True),
        ("rownames", ["-Alan Ashby", "-Al Newman", "-Bo Diaz"], {}, True),
    ],
)
def test_ids_are_known_by_name_and_by_counting(
    name: str, values: list[str | None], options: dict[str, bool | int], is_id: bool
) -> None:
    found = infer(values, name, **options)
    assert (found.type is T.ID) is is_id
    assert ("id_like" in said(found)) is is_id
    if is_id:
        assert isinstance(found.column, Words) and found.column.values().tolist() == values


def test_days_written_as_one_number_are_dates_where_the_name_says_so() -> None:
    assert infer(["20240131", "20240201"], "order_date").type is T.DATETIME
    assert infer(["20240131", "20240201"], "amount").type is T.INTEGER
    assert infer(["20240131", "20241301"], "order_date").type is T.INTEGER


def test_the_formats_of_columns_say_how_they_were_written() -> None:
    assert infer(["$1,234.50", "$7"]).format.to_json() == {"thousands": ",", "currency": "$"}
    assert infer(["1.234,5 €", "7 €"]).format.to_json() == {"decimal": ",", "thousands": ".", "currency": "€"}
    assert infer(["5%", "6%"]).format.to_json() == {"percent": True}
    assert infer(["Ja", "Nein", "Ja"]).format.to_json() == {"true": "Ja", "false": "Nein"}


def test_id_names_are_told_from_words_that_end_alike() -> None:
    assert all(map(says_id, ["id", "ID", "user_id", "userId", "UserID", "order-id", "uuid", "foreign_key"]))
    assert not any(map(says_id, ["paid", "hybrid", "valid", "identity", "monkey", "2019", ""]))
