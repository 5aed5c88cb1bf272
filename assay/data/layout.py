"""Where the table sits in a text: delimiter, lines before the header, whether there is a header, names of the columns."""

from __future__ import annotations

import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from assay.data.dateforms import FORMS
from assay.data.loaded import DataWarning
from assay.data.numberforms import MISSING_VALUES, STYLES, is_number
from assay.errors import DataError

CANDIDATES = (",", ";", "\t", "|", ":", "^", "~", " ")
PREAMBLE = 50  # lines before the header, at most
SAMPLE_ROWS = 300
SEPARATOR_LINE = re.compile(r'^"?sep=(.)"?\r?\n', re.IGNORECASE)
_QUOTED = re.compile(r'"[^"]*"')
_DATE_FORMS = tuple(re.compile(p) for n, p in FORMS.items() if n != "ymd")


@dataclass(frozen=True)
class Layout:
    """delimiter: one character.  names: of all columns.  offset: bytes before the first data row.  header: its cells."""

    delimiter: str
    names: tuple[str, ...]
    offset: int
    has_header: bool
    skipped_lines: int
    skip_initial_space: bool
    warnings: tuple[DataWarning, ...]


def layout_of(
    head: str, file: str, *, known: Sequence[str] = (), delimiter: str | None = None, max_columns: int = 20_000
) -> Layout:
    """From the beginning of a text.  `known` are names that a header is expected to hold, if any are.

    Raises DataError for more than max_columns.
    """
    text = head
    separator = SEPARATOR_LINE.match(text)
    if separator:
        text = text[separator.end() :]
    chosen = delimiter or (separator.group(1) if separator else find_delimiter(text, known))
    rows, line_ends = _parse(text, chosen)
    if not rows:  # one endless line: leave it to the scan to say so
        rows, line_ends = [text.strip().split(chosen)], [1]
    widths = [len(r) for r in rows]
    width = _usual_width(widths)
    if width > max_columns:
        message = f"{file}: {width} columns; at most {max_columns} are read"
        raise DataError(message, file=file, code="dataset_too_large")
    first = _first_row(widths, width, rows, known)
    body = [r for r in rows[first + 1 : first + 1 + SAMPLE_ROWS] if len(r) == width]
    has_header = is_header(rows[first], body, known)
    warnings: list[DataWarning] = []
    cells = rows[first] if has_header else []
    if has_header and len(cells) == width - 1:
        trailing = body and all(not r[-1].strip() for r in body)
        cells = [*cells, ""] if trailing else ["", *cells]
    if not has_header:
        cells = [f"column_{i + 1}" for i in range(max(width, len(rows[first])))]
        warnings.append(
            DataWarning(
                "no_header", None, f"the first row looks like data; columns are named column_1 to column_{len(cells)}"
            )
        )
    names, renamed = unique_names(cells)
    lines = text.split("\n")
    used = line_ends[first] if has_header else (line_ends[first - 1] if first else 0)
    skipped = line_ends[first - 1] if first else 0
    offset = len((head[: len(head) - len(text)] + "\n".join(lines[:used])).encode()) + (1 if used else 0)
    if skipped:
        warnings.append(DataWarning("preamble_skipped", None, f"{skipped} lines before the table are skipped"))
    spaced = chosen != " " and follows_every(lines[used : used + SAMPLE_ROWS], chosen)
    return Layout(chosen, names, offset, has_header, skipped, spaced, (*warnings, *renamed))


def find_delimiter(text: str, known: Sequence[str] = ()) -> str:
    """The character that splits the text into rows of one width; "," when there is only one column."""
    wanted = set(known)
    scores: dict[str, tuple[float, int]] = {}
    loose: dict[str, float] = {}
    for candidate in CANDIDATES:
        if candidate not in text:
            continue
        rows, _ = _parse(text[:65536], candidate)
        if not rows:
            continue
        if wanted and len(wanted & {c.strip() for c in rows[0]}) >= min(2, len(wanted)):
            return candidate
        widths = [len(r) for r in rows]
        width = _usual_width(widths)
        if width < 2:
            continue
        share = widths.count(width) / len(widths)
        if share >= 0.8 or (share >= 0.6 and len(set(widths[-max(3, len(widths) // 2) :])) == 1):
            scores[candidate] = (share, width)
        elif share >= 0.4 and abs(widths[0] - width) <= 1:
            loose[candidate] = share
    if len(scores) > 1:
        scores.pop(" ", None)
    if len(scores) > 1:
        scores = _drop_inner(scores, text)
    if len(scores) == 1:
        return next(iter(scores))
    if not scores:
        loose.pop(" ", None)
        return max(loose, key=lambda c: loose[c]) if loose else ","
    return _ask_clevercsv(text, tuple(scores)) or max(scores, key=lambda c: scores[c])


def _drop_inner(scores: dict[str, tuple[float, int]], text: str) -> dict[str, tuple[float, int]]:
    """Leave out characters that the first line does not hold at the full width, unless that leaves none."""
    kept = {}
    for candidate, score in scores.items():
        rows, _ = _parse(text[:65536], candidate)
        if len(rows[0]) in (score[1], score[1] - 1) and score[0] == max(s for s, _ in scores.values()):
            kept[candidate] = score
    return kept or scores


def _ask_clevercsv(text: str, candidates: tuple[str, ...]) -> str | None:
    import clevercsv

    sample = text[:20_000]
    if max(map(len, sample.split("\n"))) > 10_000:
        return None  # its search is slow on very wide tables
    try:
        found = clevercsv.Sniffer().sniff(sample, delimiters=list(candidates))
    except Exception:  # it raises its own and plain errors alike when it finds nothing
        return None
    return found.delimiter if found is not None and found.delimiter in candidates else None


def _parse(text: str, delimiter: str) -> tuple[list[list[str]], list[int]]:
    """Rows that are not blank, and for each the number of lines read by its end.  The last, cut row is left out."""
    rows, ends = _parse_as(text, delimiter, None)
    if '\\"' in text and len({len(r) for r in rows}) > 1:  # quotes inside of quotes as MySQL writes them
        escaped = _parse_as(text, delimiter, "\\")
        if len(escaped[0]) > 1 and len({len(r) for r in escaped[0]}) == 1:
            return escaped
    return rows, ends


def _parse_as(text: str, delimiter: str, escape: str | None) -> tuple[list[list[str]], list[int]]:
    lines = text.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter, skipinitialspace=True, escapechar=escape)
    rows, ends = [], []
    try:
        for row in reader:
            if row and (len(row) > 1 or row[0].strip()):
                rows.append(row)
                ends.append(reader.line_num)
                if len(rows) > SAMPLE_ROWS + PREAMBLE:
                    break
    except csv.Error:  # a field past the limit of the module: judge by what came before
        pass
    return rows, ends


def _usual_width(widths: Sequence[int]) -> int:
    counts = Counter(widths[: SAMPLE_ROWS + PREAMBLE])
    top = max(counts.values())
    best = [w for w, n in counts.items() if n == top]
    return widths[0] if widths[0] in best else max(best)


def _first_row(widths: Sequence[int], width: int, rows: Sequence[Sequence[str]], known: Sequence[str]) -> int:
    """Position of the header: the first row of the usual width; titles and notes before it are narrower."""
    if known:
        for i, row in enumerate(rows[:PREAMBLE]):
            if set(known) & {c.strip() for c in row}:
                return i
    if width < 2 or widths[0] >= width:
        return 0
    named = all(c.strip() for c in rows[0]) and not _names_values(rows[1], rows[2 : 2 + SAMPLE_ROWS])
    if widths[0] == width - 1 and width > 2 and all(w == width for w in widths[1:]) and named:
        return 0  # names for all columns but the row names, as R writes them
    for i in range(1, min(PREAMBLE, len(widths) - 1)):
        if widths[i] == width:
            return i
        if widths[i] == width - 1 and widths[i + 1] == width and all(c.strip() for c in rows[i]) and width > 3:
            return i
    return 0


def is_header(first: Sequence[str], body: Sequence[Sequence[str]], known: Sequence[str] = ()) -> bool:
    """Whether a row names the columns: no name is a number above numbers, and names are not values of their column."""
    if known and set(known) & {c.strip() for c in first}:
        return True
    if not body:
        return not any(_kind(c) in "nd" for c in first)
    votes = _votes(first, body)
    if votes.names:
        return True
    if votes.values:
        return _counts_up(first)
    seen = votes.seen_below
    return not (votes.words and len(body) >= 2 and seen >= max(1, votes.words / 2) and seen >= len(first) / 2)


def _names_values(first: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """Whether some cell is a word above nothing but numbers or dates."""
    return bool(body) and _votes(first, [r for r in body if len(r) == len(first)]).names > 0


@dataclass(frozen=True)
class _Votes:
    """Columns by what their first cell is: a word above numbers, a number above numbers, a word above words."""

    names: int
    values: int
    words: int
    seen_below: int  # of the words, those that are a value below as well


def _votes(first: Sequence[str], body: Sequence[Sequence[str]]) -> _Votes:
    names = values = words = seen_below = 0
    for i, cell in enumerate(first):
        below = [r[i] for r in body if i < len(r)]
        kinds = Counter(_kind(c) for c in below)
        kinds.pop("", None)
        if not kinds:
            continue
        usual, n = kinds.most_common(1)[0]
        kind = _kind(cell)
        if usual in "nd" and n >= 0.9 * kinds.total():
            values += kind == usual
            names += kind == "w"
        elif usual == "w" and kind == "w":
            words += 1
            seen_below += cell in below
    return _Votes(names, values, words, seen_below)


def _counts_up(cells: Sequence[str]) -> bool:
    """Years or positions as names: at least two integers, each one more than the last."""
    numbers = [int(c) for c in map(str.strip, cells) if re.fullmatch(r"\d{1,4}", c)]
    steps = all(b - a == 1 for a, b in itertools.pairwise(numbers))
    return len(numbers) >= 3 and steps and (numbers[0] in (0, 1) or 1500 <= numbers[0] <= 2200)


def _kind(cell: str) -> str:
    """ "" missing, "n" number, "d" date, "w" words."""
    text = cell.strip()
    if text.lower() in MISSING_VALUES:
        return ""
    if any(is_number(text, d, t) for d, t in STYLES[:4]):
        return "n"
    return "d" if any(p.match(text) for p in _DATE_FORMS) else "w"


def follows_every(lines: Sequence[str], delimiter: str) -> bool:
    """Whether a space follows every delimiter, so that it belongs to the delimiter and not to the values."""
    text = _QUOTED.sub('""', "\n".join(lines))
    total = text.count(delimiter)
    return total > 0 and text.count(delimiter + " ") >= 0.95 * total and text.count(delimiter + " ") > 0


def unique_names(cells: Iterable[str]) -> tuple[tuple[str, ...], list[DataWarning]]:
    """A distinct name for every column: blanks are numbered, repeats get _2, _3, ...; each change is a warning."""
    cleaned = [
        " ".join(c.replace("\ufeff", "").split()) if "\n" in c else c.replace("\ufeff", "").strip() for c in cells
    ]
    taken = {c for c in cleaned if c}
    seen: Counter[str] = Counter()
    names: list[str] = []
    warnings: list[DataWarning] = []
    for i, cell in enumerate(cleaned):
        name = cell
        if not cell:
            name = _free(f"column_{i + 1}", taken)
            warnings.append(DataWarning("renamed_column", name, f"column {i + 1} has no name; it is called {name!r}"))
        elif seen[cell]:
            name = _free(f"{cell}_{seen[cell] + 1}", taken)
            warnings.append(
                DataWarning(
                    "renamed_column",
                    name,
                    f"column {i + 1} is the {seen[cell] + 1}. named {cell!r}; it is called {name!r}",
                )
            )
        seen[cell] += 1
        taken.add(name)
        names.append(name)
    return tuple(names), warnings


def _free(name: str, taken: set[str]) -> str:
    stem, n = name, 2
    while name in taken:
        name, n = f"{stem}_{n}", n + 1
    return name
