"""Tables one under the other, each in the types of the first."""

from __future__ import annotations

import numpy as np
import pytest

from assay.data.join import stacked
from assay.data.table import Blobs, ColumnType, Table, Words
from assay.errors import DataError

TYPES = {"n": ColumnType.NUMBER, "w": ColumnType.CATEGORY}
FIRST = Table({"n": np.array([1.0, np.nan]), "w": Words.of(["a", None])}, TYPES)


def test_rows_follow_each_other_and_types_stay() -> None:
    second = Table({"w": Words.of(["b", "a"]), "n": np.array([3.0, 4.0]), "more": np.zeros(2)}, TYPES)
    both = stacked([FIRST, second], ["first", "second"])
    assert both.names == ("n", "w") and both.types == TYPES
    np.testing.assert_array_equal(both.numbers("n"), [1.0, np.nan, 3.0, 4.0])
    assert both.words("w").values().tolist() == ["a", "", "b", "a"]


def test_what_was_read_as_another_form_is_read_as_the_first_ones() -> None:
    second = Table({"n": Words.of(["2.5", "none", None]), "w": np.array([1.0, 2.0, np.nan])}, TYPES)
    both = stacked([FIRST, second], ["first", "second"])
    np.testing.assert_array_equal(both.numbers("n"), [1.0, np.nan, 2.5, np.nan, np.nan])
    assert both.words("w").values().tolist() == ["a", "", "1", "2", ""]


def test_a_lacking_column_is_named_with_both_tables() -> None:
    with pytest.raises(DataError, match="second has no column 'w', which first has"):
        stacked([FIRST, Table({"n": np.zeros(1)}, TYPES)], ["first", "second"])


def test_files_follow_files_and_nothing_else() -> None:
    types = {"image": ColumnType.IMAGE}
    pictures = Table({"image": Blobs.of([b"a", None])}, types)
    assert list(stacked([pictures, pictures], ["x", "y"]).blobs("image")) == [b"a", None, b"a", None]
    with pytest.raises(DataError, match="holds files"):
        stacked([pictures, Table({"image": Words.of(["a"])}, types)], ["x", "y"])
