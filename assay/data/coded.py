"""A column as its distinct texts with a code for every row, and what is made of it: a typed column with its format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from assay.data.loaded import ColumnFormat, DataWarning
from assay.data.numberforms import MISSING_VALUES, MISSING_WORDS
from assay.data.table import Column, ColumnType, Words

if TYPE_CHECKING:
    import polars as pl

TRUTH = (
    ("true", "false"), ("yes", "no"), ("t", "f"), ("y", "n"), ("on", "off"), ("ja", "nein"), ("oui", "non"),
    ("si", "no"), ("sí", "no"), ("sim", "não"), ("vrai", "faux"), ("да", "нет"),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Inferred:
    """One typed column.  `doubt` names what a hint could settle: "dates", "numbers" or nothing."""

    column: Column
    type: ColumnType
    format: ColumnFormat = ColumnFormat()
    warnings: tuple[DataWarning, ...] = ()
    doubt: str = ""


@dataclass(frozen=True, eq=False)
class Coded:
    """A column as codes into its distinct texts.  codes: int32 (n,), -1 for null.  counts: rows of each text."""

    codes: np.ndarray
    levels: pl.Series
    counts: np.ndarray


def encode(text: pl.Series) -> Coded:
    import polars as pl

    encoded = text.to_arrow(compat_level=pl.CompatLevel.oldest()).dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    levels = pl.Series("", encoded.dictionary, dtype=pl.String)
    return Coded(codes, levels, np.bincount(codes[codes >= 0], minlength=len(levels)))


def recode(coded: Coded, values: pl.Series) -> Words:
    """The column with each text replaced; equal new texts fall together, null is missing."""
    index: dict[str, int] = {}
    new = [-1 if v is None else index.setdefault(v, len(index)) for v in values.to_list()]
    codes = np.array([*new, -1], dtype=np.int32)[coded.codes]
    return Words(codes, np.array(list(index), dtype=object))


def words_of(coded: Coded, missing: pl.Series | None = None) -> Words:
    """The texts as they stand in the file; those missing (by default the words that always say so) are -1."""
    import polars as pl

    if missing is None:
        missing = coded.levels.str.strip_chars().is_in(list(MISSING_WORDS))
    if not missing.any():
        return Words(coded.codes, np.array(coded.levels.to_list(), dtype=object))
    kept = coded.levels.filter(~missing)
    place = pl.select(pl.when(~missing).then((~missing).cum_sum() - 1).otherwise(-1)).to_series().to_numpy()
    return Words(
        np.append(place, -1).astype(np.int32)[coded.codes], np.array(kept.to_list(), dtype=object).reshape(len(kept))
    )


def split_missing(coded: Coded) -> tuple[pl.Series, np.ndarray, tuple[str, ...]]:
    """Which texts only stand for a missing value beside numbers, dates or truth values: (mask, its array, tokens)."""
    missing = coded.levels.str.strip_chars().str.to_lowercase().is_in(list(MISSING_VALUES))
    return missing, missing.to_numpy(), tuple(t for t in coded.levels.filter(missing).to_list() if t.strip())


def truth_of(levels: list[str]) -> tuple[str, str] | None:
    """Which of two words says true and which false, or None."""
    folded = {v.strip().lower(): v for v in levels}
    return next(((folded[t], folded[f]) for t, f in TRUTH if set(folded) == {t, f}), None)


def style_warnings(
    name: str, form: ColumnFormat, rest: pl.Series, counts: np.ndarray, read: np.ndarray
) -> list[DataWarning]:
    found = []
    said = [f"decimal {form.decimal!r}"] if form.decimal != "." else []
    said += [f"thousands {form.thousands!r}"] if form.thousands else []
    said += ["a percent sign (12% is read as 12)"] if form.percent else []
    said += [f"currency {form.currency!r}"] if form.currency else []
    if said:
        found.append(DataWarning("number_format", name, f"{name!r} is read as numbers with {', '.join(said)}"))
    if not read.all():
        found.append(mixed(name, "numbers", rest, counts, read))
    return found


def mixed(name: str, what: str, rest: pl.Series, counts: np.ndarray, read: np.ndarray) -> DataWarning:
    odd = [str(v)[:40] for v in rest.filter(_mask(~read)).head(3).to_list()]
    return DataWarning(
        "mixed_types",
        name,
        f"{name!r} holds {what}, but {counts[~read].sum()} values are not, such as {', '.join(map(repr, odd))}: they are "
        f"read as missing; set the column's type to category or text to keep them",
    )


def _mask(values: np.ndarray) -> pl.Series:
    import polars as pl

    return pl.Series(values)
