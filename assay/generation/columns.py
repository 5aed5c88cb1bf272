"""Rows as parts a generator can learn: codes (which of several states) and scores (a normal number), and the way back.

A word column is one code.  A number column is a score; values that many rows share ("atoms": zeros, caps, whole numbers
of a short list) and missing values are states, so that they come back exactly, and the score counts only in the state
"something else".  Scores are normal by rank: the way back interpolates between quantiles, so ranges are kept, and rounds
to as many decimals as the column has.  Dates are days since the column's first one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from assay.data.table import ColumnType, Table, Words
from assay.model.graph import Scope

MAX_LEVELS = 64  # codes of a word column; rarer words share one code and are drawn by their shares
MAX_ATOMS = 24
ATOM_SHARE = 0.02  # of the rows with a value: what more rows share is an atom ...
STANDS_OUT = 5.0  # ... if it is so many times as frequent as the usual value of its column
KNOTS = 257  # quantiles kept of a column, evenly spaced in the score
FAR = 3.5  # scores beyond it stand for the smallest and the largest value
MAX_DECIMALS = 6
MAX_EXACT = 2000  # values of a number column that are kept as they are
UNSEEN = 0.1  # ... if at most this share of new values is expected not to be among them
UNSEEN_ODD = 0.4  # ... of values that lie on no grid
MAX_TOLD = 200  # words of a column named in the manifest


@dataclass(frozen=True, eq=False)
class ColumnCode:
    """One column.  form: "word", "number" or "date".

    words: all texts, the frequent ones (`n_words`) first; others: cumulated shares of the rest.  atoms: values told as
    they are, ascending.  knots: float64 (KNOTS,) quantiles of the other values, or None.  missing: rows may lack it.
    decimals, step: all values are multiples of the step and have so many decimals; None and 0 when there is no such grid.
    exact: float64, ascending: the values a number may take when new rows hardly ever bring another one, else empty.
    """

    name: str
    type: ColumnType
    form: str
    missing: bool
    words: tuple[str, ...] = ()
    n_words: int = 0
    others: np.ndarray = field(default_factory=lambda: np.empty(0))
    atoms: np.ndarray = field(default_factory=lambda: np.empty(0))
    knots: np.ndarray | None = None
    decimals: int | None = None
    step: float = 0.0
    origin: str = ""
    exact: np.ndarray = field(default_factory=lambda: np.empty(0))

    @property
    def rest(self) -> int:
        """The code of "something else", -1 when there is nothing else."""
        if self.form == "word":
            return self.n_words if len(self.words) > self.n_words else -1
        return len(self.atoms) if self.knots is not None else -1

    @property
    def n_codes(self) -> int:
        known = self.n_words if self.form == "word" else len(self.atoms)
        return known + (self.rest >= 0) + self.missing

    @property
    def is_discrete(self) -> bool:
        """Every value is a code of its own, so a condition on it can be fed to the generator."""
        return self.rest < 0

    def to_json(self) -> dict[str, Any]:
        """What reading samples needs."""
        return {
            "name": self.name, "type": str(self.type), "form": self.form, "decimals": self.decimals,
            "origin": self.origin, "missing": self.missing, "values": self.exact.tolist() or None,
            "words": sorted(self.words) if self.form == "word" and len(self.words) <= MAX_TOLD else None,
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Parts:
    """Encoded rows.  codes: int64 (n, p); scores: float32 (n, q), 0 where not known; known: bool (n, q); values: float64
    (n, q), the numbers behind the scores, NaN where not known."""

    codes: np.ndarray
    scores: np.ndarray
    known: np.ndarray
    values: np.ndarray

    def take(self, rows: np.ndarray) -> Parts:
        return Parts(self.codes[rows], self.scores[rows], self.known[rows], self.values[rows])

    def points(self, sizes: Sequence[int], apart: float = 1.0) -> np.ndarray:
        """Scores, and codes as corners that lie so far apart; float32 (n, e).  sizes: codes of each part."""
        corner = np.float32(apart * np.sqrt(0.5))
        hot = [(self.codes[:, j : j + 1] == np.arange(k)[None]) * corner for j, k in enumerate(sizes)]
        return np.concatenate([self.scores, *hot], 1, dtype=np.float32)

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True)
class Layout:
    """sizes: codes of each of the p code parts.  gates: for each of the q scores the (code part, code) in which it
    counts, None for always.  target: the code part a condition may fix, None for none.  ordered: for each code part
    whether its codes ascend with the values they stand for.  code_at, score_at: positions of the columns in the file that
    the parts belong to, the target's last."""

    sizes: tuple[int, ...]
    gates: tuple[tuple[int, int] | None, ...]
    target: int | None = None
    ordered: tuple[bool, ...] = ()
    code_at: tuple[int, ...] = ()
    score_at: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class RowCoder:
    """Fitted on training rows.  code_of, score_of: positions of the columns that have such a part.  target: position of
    the column to be told from the others, None for none."""

    columns: tuple[ColumnCode, ...]
    code_of: tuple[int, ...]
    score_of: tuple[int, ...]
    layout: Layout
    target: int | None = None

    def encode(self, table: Table) -> Parts:
        """Any rows with these columns; words never seen count as the rest, or as the most frequent word."""
        n = len(table)
        raw = [raw_values(table, c) for c in self.columns]
        codes = [_codes(raw[i], self.columns[i]) for i in self.code_of]
        values = np.full((n, len(self.score_of)), np.nan)
        scores = np.zeros((n, len(self.score_of)), np.float32)
        for j, i in enumerate(self.score_of):
            c = self.columns[i]
            there = np.isfinite(raw[i]) & (_atom(raw[i], c) < 0)
            values[there, j] = raw[i][there]
            scores[there, j] = _scores(raw[i][there], c)
        made = np.stack(codes, 1) if codes else np.empty((n, 0), np.int64)
        return Parts(made, scores, np.isfinite(values), values)

    def cells(self, table: Table) -> np.ndarray:
        """Every column but the target that varies, float32 (n, d): codes of words, numbers as they are, NaN for missing."""
        codes = self.encode(table).codes
        found = [
            codes[:, self.code_of.index(i)] if c.form == "word" else raw_values(table, c)
            for i, c in self._told_from()
        ]  # fmt: skip
        return np.stack(found, 1).astype(np.float32) if found else np.empty((len(table), 0), np.float32)

    @property
    def cell_sizes(self) -> tuple[int, ...]:
        """Codes of each column of `cells`, 0 for numbers."""
        return tuple(c.n_codes if c.form == "word" else 0 for _, c in self._told_from())

    def emit(
        self,
        scope: Scope,
        codes: Sequence[str],
        numbers: str,
        uniform: str,
        raw: bool,
        again: Callable[[str], tuple[str, str, bool]] | None = None,
    ) -> dict[str, str]:
        """The columns as graph values: float32 [N, 1] or string [N] by column name.

        codes: int64 [N] each; numbers: float32 [N, q], scores (or, when raw, the values themselves); uniform: float32
        [N, `n_uniform`], for words that share a code.  again: from the cells of the other columns to a new code and number
        of the target, which is a score or, if so told, what the column holds.
        """
        values = _emit_values(scope, self.columns, self.score_of, numbers, raw) if self.score_of else ""
        found: dict[str, str] = {}
        for i in range(len(self.columns)):
            code = codes[self.code_of.index(i)] if i in self.code_of else ""
            value = column(scope, values, self.score_of.index(i)) if i in self.score_of else ""
            found[self.columns[i].name] = self._emit(scope, i, code, value, uniform)
        if again is None or self.target is None:
            return found
        cells = []
        for i, c in self._told_from():
            if c.form == "word":
                as_number = scope.add("Cast", codes[self.code_of.index(i)], to=1)
                cells.append(scope.add("Unsqueeze", as_number, scope.const([1])))
            else:
                cells.append(found[c.name])
        code, number, own = again(cells[0] if len(cells) == 1 else scope.add("Concat", *cells, axis=1))
        if own:
            value = _emit_within(scope, self.columns[self.target], number)
        else:
            value = _emit_values(scope, self.columns, [self.target], number, False) if number else ""
        found[self.columns[self.target].name] = self._emit(scope, self.target, code, value, uniform)
        return found

    def _told_from(self) -> list[tuple[int, ColumnCode]]:
        """The columns the target is told from: those that vary."""
        varying = {*self.code_of, *self.score_of}
        return [(i, c) for i, c in enumerate(self.columns) if i in varying and i != self.target]

    def _emit(self, scope: Scope, i: int, code: str, value: str, uniform: str) -> str:
        c = self.columns[i]
        if c.form != "word":
            return _emit_number(scope, c, code, value, uniform)
        shared = [j for j, other in enumerate(self.columns) if other.form == "word" and other.rest >= 0]
        u = column(scope, uniform, shared.index(i)) if i in shared else ""
        return _emit_word(scope, c, code, u, uniform)

    @property
    def n_uniform(self) -> int:
        """Uniform numbers `emit` uses; at least one, which also tells the number of rows."""
        return max(1, sum(c.form == "word" and c.rest >= 0 for c in self.columns))

    def conditions(self) -> Mapping[str, int]:
        """Values of the condition column as they are written, with their codes."""
        if self.layout.target is None:
            return {}
        c = self.columns[self.code_of[self.layout.target]]
        if c.form == "word":
            return {w: i for i, w in enumerate(c.words)}
        return {number_words(float(v)): i for i, v in enumerate(c.atoms)}


def number_words(value: float) -> str:
    """1.0 is written 1."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def fit_rows(table: Table, target: str | None = None) -> RowCoder:
    """Learn columns from training rows.  The target comes first among the parts, so that it can be a condition."""
    names = [n for n in table.names if n != target]
    order = ([target] if target is not None else []) + names
    columns = tuple(_fit(table, name) for name in order)
    code_of = tuple(i for i, c in enumerate(columns) if c.n_codes > 1)
    score_of = tuple(i for i, c in enumerate(columns) if c.knots is not None)
    gates = tuple(
        (code_of.index(i), columns[i].rest) if i in code_of else None for i in score_of
    )  # fmt: skip
    conditional = target is not None and 0 in code_of and columns[0].is_discrete
    ordered = tuple(columns[i].form != "word" and columns[i].rest < 0 for i in code_of)
    last = 0 if target is None else len(columns)  # the target comes first among the columns, and last in a row
    at = [i if i or not last else last for i in range(len(columns))]
    layout = Layout(
        tuple(columns[i].n_codes for i in code_of), gates, 0 if conditional else None, ordered,
        tuple(at[i] for i in code_of), tuple(at[i] for i in score_of),
    )  # fmt: skip
    return RowCoder(columns, code_of, score_of, layout, 0 if target is not None else None)


def column(scope: Scope, matrix: str, j: int) -> str:
    """Column j of [N, p] as [N, 1]."""
    return scope.add("Slice", matrix, scope.const([j]), scope.const([j + 1]), scope.const([1]))


# -- learning ---------------------------------------------------------------------------------------------------------


def _fit(table: Table, name: str) -> ColumnCode:
    kind = table.types[name]
    held = table.columns[name]
    if isinstance(held, Words) and kind is not ColumnType.DATETIME:
        counts = np.bincount(held.codes[held.codes >= 0], minlength=len(held.levels))
        order = [i for i in np.argsort(-counts, kind="stable") if counts[i] > 0]
        words = tuple(str(held.levels[i]) for i in order)
        kept = len(words) if len(words) <= MAX_LEVELS else MAX_LEVELS - 1
        rest = counts[order[kept:]].astype(np.float64)
        return ColumnCode(
            name, kind, "word", bool((held.codes < 0).any()), words, kept, np.cumsum(rest) / max(1.0, rest.sum())
        )
    values, origin = (days(held), "") if isinstance(held, Words) else (table.numbers(name), "")
    form = "number"
    if isinstance(held, Words):
        form = "date"
        first = np.floor(np.nanmin(values)) if np.isfinite(values).any() else 0.0
        origin = str(np.datetime64("1970-01-01") + int(first))
    known = values[np.isfinite(values)] - (float(np.datetime64(origin).astype(np.int64)) if origin else 0.0)
    distinct, counts = np.unique(known, return_counts=True)
    if len(distinct) <= MAX_ATOMS:
        atoms, knots = distinct, None
    else:
        common = np.argsort(-counts, kind="stable")[:MAX_ATOMS]
        common = common[counts[common] > max(4.0, ATOM_SHARE * len(known), STANDS_OUT * np.median(counts))]
        atoms = np.sort(distinct[common])
        others = known[~np.isin(known, atoms)]
        knots = np.quantile(others, _normal_cdf(_grid()))
        knots[0], knots[-1] = others.min(), others.max()
    decimals = _decimals(known)
    step = 0.0
    if decimals is not None and len(known):
        step = float(max(1, np.gcd.reduce(np.round(np.abs(known) * 10.0**decimals).astype(np.int64)))) / 10.0**decimals
    return ColumnCode(
        name,
        kind,
        form,
        len(known) < len(values),
        atoms=atoms,
        knots=knots,
        decimals=decimals,
        step=step,
        origin=origin,
        exact=_exact(distinct, counts, step, origin),
    )


def _exact(distinct: np.ndarray, counts: np.ndarray, step: float, origin: str) -> np.ndarray:
    """The values a number column takes: those there are where unseen ones are few, by the share of values seen once (Good,
    Biometrika 1953), or the points of the grid they lie on, as standardised whole numbers do.  What lies between gives a
    sample away, and float32, in which graphs compute, does not hold them all."""
    whole = step >= 1 and len(distinct) > MAX_ATOMS and np.abs(distinct).max() < 2**24  # float32 holds this grid
    if origin or whole or not 0 < len(distinct) <= MAX_EXACT:
        return np.empty(0)
    once = float((counts == 1).sum() / counts.sum())
    if once <= UNSEEN:
        return distinct.astype(np.float64)
    grid = _grid_points(distinct) if not step and once < 1 else np.empty(0)
    return distinct.astype(np.float64) if not len(grid) and not step and once <= UNSEEN_ODD else grid


def _grid_points(distinct: np.ndarray) -> np.ndarray:
    """Evenly spaced values among which all of these are, empty when there are more than MAX_EXACT: the largest common
    step by Euclid's algorithm on the gaps, as far as rounding allows."""
    gaps = np.diff(distinct)
    rough = 1e-7 * float(distinct[-1] - distinct[0])
    step = float(gaps.min())
    while step > 10 * rough:
        left = np.abs(gaps - np.round(gaps / step) * step)
        if left.max() <= rough:
            break
        step = float(left[left > rough].min())
    n = round(float(distinct[-1] - distinct[0]) / max(step, rough)) + 1
    if step <= 10 * rough or n > MAX_EXACT:
        return np.empty(0)
    place = np.round((distinct - distinct[0]) / ((distinct[-1] - distinct[0]) / (n - 1))).astype(np.int64)
    points = np.linspace(distinct[0], distinct[-1], n)
    points[place] = distinct
    return points


def days(words: Words) -> np.ndarray:
    """Days since 1970 of ISO dates, NaN where missing or unreadable."""
    found = np.full(len(words.levels) + 1, np.nan)
    for i, level in enumerate(words.levels):
        try:
            found[i] = np.datetime64(str(level).replace(" ", "T")).astype("datetime64[s]").astype(np.int64) / 86400.0
        except ValueError:
            continue
    return np.asarray(found[words.codes])


def _decimals(known: np.ndarray) -> int | None:
    for d in range(MAX_DECIMALS + 1):
        scaled = known * 10.0**d
        if np.abs(scaled).max(initial=0.0) > 2**53:
            break
        if (np.abs(scaled - np.round(scaled)) <= 1e-9 * np.maximum(1.0, np.abs(scaled))).all():
            return d
    return None


def _grid() -> np.ndarray:
    return np.linspace(-FAR, FAR, KNOTS)


def _normal_cdf(z: np.ndarray) -> np.ndarray:
    from scipy.special import ndtr

    return np.asarray(ndtr(z))


# -- encoding ---------------------------------------------------------------------------------------------------------


def raw_values(table: Table, c: ColumnCode) -> np.ndarray:
    """Positions among the column's words (-1 missing, -2 never seen), or numbers with NaN."""
    held = table.columns[c.name]
    if c.form == "word":
        assert isinstance(held, Words)
        place = {w: i for i, w in enumerate(c.words)}
        known = np.array([place.get(str(level), -2) for level in held.levels] + [-1], np.int64)
        return np.asarray(known[held.codes])
    if isinstance(held, Words):
        return days(held) - float(np.datetime64(c.origin).astype(np.int64))
    return table.numbers(c.name)


def _codes(raw: np.ndarray, c: ColumnCode) -> np.ndarray:
    if c.form == "word":
        unseen = max(c.rest, 0)
        codes = np.where(raw >= c.n_words, c.rest, np.where(raw == -2, unseen, raw))
        return np.where(raw == -1, c.n_codes - 1 if c.missing else 0, codes).astype(np.int64)
    near = _atom(raw, c, nearest=c.rest < 0)
    codes = np.where(near < 0, c.rest, near)
    return np.where(~np.isfinite(raw), c.n_codes - 1 if c.missing else 0, codes).astype(np.int64)


def _atom(raw: np.ndarray, c: ColumnCode, nearest: bool = False) -> np.ndarray:
    """The position of the atom a value is (or, if asked, is nearest to), -1 for none.  A value read back from float32
    is its atom still."""
    if not len(c.atoms):
        return np.full(len(raw), -1)
    safe = np.where(np.isfinite(raw), raw, c.atoms[0])
    place = np.clip(np.searchsorted(c.atoms, safe), 0, len(c.atoms) - 1)
    before = np.clip(place - 1, 0, None)
    near = np.where(np.abs(c.atoms[before] - safe) < np.abs(c.atoms[place] - safe), before, place)
    if nearest:
        return near
    same = np.abs(c.atoms[near] - safe) <= 1e-6 * np.abs(safe) + 1e-300
    return np.where(same & np.isfinite(raw), near, -1)


def _scores(values: np.ndarray, c: ColumnCode) -> np.ndarray:
    """Where a value lies among the knots; a value that several knots share gets the middle of them."""
    assert c.knots is not None
    grid = _grid()
    distinct, first = np.unique(c.knots, return_index=True)
    last = np.append(first[1:], KNOTS) - 1
    return np.asarray(np.interp(values, distinct, (grid[first] + grid[last]) / 2), np.float32)


# -- the way back -----------------------------------------------------------------------------------------------------


def _emit_values(scope: Scope, columns: Sequence[ColumnCode], at: Sequence[int], numbers: str, raw: bool) -> str:
    """float32 [N, q] values within the columns' ranges, rounded."""
    knots = np.stack([np.asarray(columns[i].knots) for i in at]).astype(np.float32)  # (q, KNOTS)
    if raw:
        low, high = (scope.const(k[None]) for k in (knots[:, 0], knots[:, -1]))
        value = scope.add("Min", scope.add("Max", numbers, low), high)
    else:
        z = scope.add("Clip", numbers, scope.const(np.float32(-FAR)), scope.const(np.float32(FAR)))
        step = scope.const(np.float32((KNOTS - 1) / (2 * FAR)))
        t = scope.add("Mul", scope.add("Add", z, scope.const(np.float32(FAR))), step)
        whole = scope.add("Min", scope.add("Floor", t), scope.const(np.float32(KNOTS - 2)))
        offset = scope.const((np.arange(len(at)) * KNOTS)[None].astype(np.int64))
        index = scope.add("Add", scope.add("Cast", whole, to=7), offset)
        flat = scope.const(knots.ravel())
        low = scope.add("Gather", flat, index)
        high = scope.add("Gather", flat, scope.add("Add", index, scope.const(np.int64(1))))
        share = scope.add("Sub", t, whole)
        value = scope.add("Add", low, scope.add("Mul", share, scope.add("Sub", high, low)))
    return _emit_rounded(scope, [columns[i].step for i in at], value)


def _emit_within(scope: Scope, c: ColumnCode, value: str) -> str:
    """float32 [N, 1]: values of any size as values between the smallest and the largest of the column, rounded."""
    seen = np.concatenate([c.atoms, [] if c.knots is None else c.knots])
    low, high = (scope.const(np.float32(v)) for v in (seen.min(), seen.max()))
    return _emit_rounded(scope, [c.step], scope.add("Clip", value, low, high))


def _emit_rounded(scope: Scope, steps: Sequence[float], value: str) -> str:
    grid = scope.const(np.array([step or 1.0 for step in steps], np.float32)[None])
    rounded = scope.add("Mul", scope.add("Round", scope.add("Div", value, grid)), grid)
    exact = scope.const(np.array([[step > 0 for step in steps]]))
    return scope.add("Where", exact, rounded, value)


def _emit_number(scope: Scope, c: ColumnCode, code: str, value: str, rows: str) -> str:
    if not code:  # one state: a score, or the only value there is
        if value:
            return value
        only = float(c.atoms[0]) if len(c.atoms) else float("nan")
        return scope.add("Expand", scope.const(np.array([[only]], np.float32)), _shape(scope, rows, 1))
    states = [float(a) for a in c.atoms] + ([0.0] if c.rest >= 0 else []) + ([float("nan")] if c.missing else [])
    table = scope.const(np.array(states, np.float32))
    told = scope.add("Unsqueeze", scope.add("Gather", table, code), scope.const([1]))
    if not value:
        return told
    is_rest = scope.add("Unsqueeze", scope.add("Equal", code, scope.const(np.int64(c.rest))), scope.const([1]))
    return scope.add("Where", is_rest, value, told)


def _emit_word(scope: Scope, c: ColumnCode, code: str, u: str, rows: str) -> str:
    if not code:
        only = c.words[0] if c.words else ""
        zero = scope.add("Expand", scope.const(np.array([0], np.int64)), _shape(scope, rows, 0))
        return scope.add("Gather", scope.const(np.array([only], dtype=object)), zero)
    states = [*c.words[: c.n_words], *([""] if c.rest >= 0 else []), *([""] if c.missing else [])]
    index = code
    if c.rest >= 0:
        below = scope.add(
            "Cast", scope.add("GreaterOrEqual", u, scope.const(c.others[None, :-1].astype(np.float32))), to=7
        )
        place = scope.add("ReduceSum", below, scope.const([1]), keepdims=0)
        other = scope.add("Add", place, scope.const(np.int64(len(states))))
        index = scope.add("Where", scope.add("Equal", code, scope.const(np.int64(c.rest))), other, code)
        states += c.words[c.n_words :]
    return scope.add("Gather", scope.const(np.array(states, dtype=object)), index)


def _shape(scope: Scope, rows: str, columns: int) -> str:
    """The shape [N] (columns 0) or [N, columns] as a value, N taken from a value with the rows first."""
    n = scope.add("Slice", scope.add("Shape", rows), scope.const([0]), scope.const([1]))
    return scope.add("Concat", n, scope.const([columns]), axis=0) if columns else n
