"""What tasks over texts share: which columns are read as text, and the front that reads each of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.data.table import ColumnType, Table, Words
from assay.errors import SpecError
from assay.spec import ColumnFacts, JobSpec, ProfileFacts, Resolved, column, text_chars

if TYPE_CHECKING:
    from assay.tasks._problem import Problem

MANY = 100_000  # rows from which the usual choice of a validation method holds
ROWS_PER_SECOND = 200  # of a job's time limit, up to which five folds are worth it
DEAR = 0.4  # of a job's time: what one trial of a pretrained encoder may take
SHORT = (ColumnType.CATEGORY, ColumnType.BOOLEAN)


@dataclass(frozen=True)
class Facts:
    name: str
    type: str
    missing: int
    distinct: int


@dataclass(frozen=True)
class Texts:
    """A profile in which what holds text says so, and what does not is constant, so that it is left out."""

    n_rows: int
    columns: tuple[ColumnFacts, ...]
    chars: float  # of a row in all columns that are read, on average


def as_texts(spec: JobSpec, profile: ProfileFacts) -> tuple[Texts, dict[str, str]]:
    """The profile as a text task sees it, and why a column that it does not read is left out.

    Texts, categories and booleans are read.  Words that look like ids (all different, without spaces) are read when there
    is nothing else, as in a list of names.  Raises SpecError when there is no column to read.
    """
    if spec.task.target:
        column(profile, spec.task.target, "/task/target", "target_not_found")
    role = {spec.task.target, spec.task.group_column, spec.task.time_column, spec.task.weight_column}
    free = [c for c in profile.columns if c.name not in role and c.name not in spec.task.ignore_columns]
    names = {c.name for c in free}
    chosen = {c.name for c in free if c.type == ColumnType.TEXT or c.type in SHORT}
    if not chosen:
        chosen = {c.name for c in free if c.type == ColumnType.ID and not isinstance(_example(c), (int, float))}
    why: dict[str, str] = {}
    columns: list[ColumnFacts] = []
    chars = 0.0
    for c in profile.columns:
        if c.name in chosen:
            chars += float(getattr(c, "statistics", {}).get("characters", 0.0))
            columns.append(Facts(c.name, ColumnType.TEXT, c.missing, c.distinct))
            continue
        if c.name in names and c.type not in (ColumnType.CONSTANT, ColumnType.ID):
            why[c.name] = f"holds {c.type} values, and {spec.task.type} reads texts"
        columns.append(c if c.name in role else Facts(c.name, ColumnType.CONSTANT, c.missing, c.distinct))
    if not chosen:
        held = ", ".join(f"{c.name!r} ({c.type})" for c in free[:8]) or "no other column"
        raise SpecError(
            f"{spec.task.type} needs a column of text beside {spec.task.target!r}, and there is {held}; "
            "use task.type 'classification' or 'regression', or set a column's type to text",
            pointer="/task/type",
        )
    return Texts(profile.n_rows, tuple(columns), chars), why


def _example(facts: ColumnFacts) -> Any:
    return getattr(facts, "example", None)


def with_folds(spec: JobSpec, n_rows: int) -> tuple[JobSpec, list[str]]:
    """Five folds where nothing is said, three where texts are many for the time.  Returns what to say of it.

    The usual choice counts the trials that fit into the time, nets included; here linear models come first, which are
    quick, and gain from every row that they learn from.
    """
    v, task = spec.validation, spec.task
    plain = v.method == "cv" or (v.method == "auto" and task.group_column is None and task.time_column is None)
    if not plain or v.folds is not None or n_rows > MANY:
        return spec, []
    seconds = spec.limits.time_seconds
    folds = 5 if seconds is None or n_rows <= ROWS_PER_SECOND * seconds else 3
    why = f"{folds} folds: {n_rows} texts" + ("" if seconds is None else f" in {seconds:g} s")
    return dataclasses.replace(spec, validation=dataclasses.replace(v, folds=folds)), [why]


def about_texts(
    resolved: Resolved, texts: Texts, why: dict[str, str], spec: JobSpec, said: Iterable[str] = ()
) -> Resolved:
    """What was decided for texts, in words; families that cannot run here are left out unless they were asked for."""
    from assay.families import discover

    resolved = dataclasses.replace(resolved, options={**resolved.options, "chars": round(texts.chars, 1)})
    left_out = tuple((name, why.get(name, reason)) for name, reason in resolved.left_out)
    because = [*resolved.because, *said, f"read as text: {', '.join(map(repr, resolved.features))}"]
    families = resolved.families
    if spec.search.families is None:
        able = []
        for name in families:
            missing = getattr(discover()[name], "missing", lambda: "")() or _too_dear(name, resolved, spec)
            if missing:
                because.append(f"without {name}: {missing}")
            else:
                able.append(name)
        families = tuple(able)
    return dataclasses.replace(resolved, left_out=left_out, because=tuple(because), families=families)


def _too_dear(name: str, resolved: Resolved, spec: JobSpec) -> str:
    """Why a family that makes every row of a job longer is not worth it; "" for all others."""
    from assay.families import Shape, discover

    family, seconds = discover()[name], spec.limits.time_seconds
    config = family.Config()
    if seconds is None or "encoder" not in getattr(family.recipe(config), "views", ()):
        return ""
    rows = resolved.n_rows * (resolved.folds - 1) // max(1, resolved.folds)
    shape = Shape(max(1, rows), len(resolved.features), chars=text_chars(resolved.options))
    takes = family.cost(config, shape).seconds * resolved.folds
    return f"one trial would take some {takes:.0f} of {seconds:g} s" if takes > DEAR * seconds else ""


def fronted(problem: Problem) -> Problem:
    """The problem with a front for every text, fitted on the texts of all rows outside the test part, and with columns
    that carry it."""
    from assay.data.textfit import fit_front, fit_vocabulary
    from assay.data.texts import TextColumn
    from assay.nn.weights import find_weights

    views = _views(problem.resolved.families)
    weights = find_weights() if "encoder" in views else None
    tokenizer = "" if weights is None else weights.tokenizer()
    rows = np.setdiff1d(np.arange(len(problem.y)), problem.folds.test)
    training = {name: problem.features.words(name).take(rows) for name in problem.features.names}
    vocabulary = fit_vocabulary(training.values()) if "pieces" in views else ()
    fronts = {name: fit_front(texts, len(training), vocabulary, tokenizer) for name, texts in training.items()}

    def over(table: Table) -> Table:
        columns = {
            name: TextColumn.over(texts, fronts[name]) if isinstance(texts, Words) else texts
            for name, texts in table.columns.items()
        }
        return Table(columns, dict.fromkeys(table.types, ColumnType.TEXT))

    return dataclasses.replace(problem, features=over(problem.features), gate=over(problem.gate), fronts=fronts)


def _views(names: Iterable[str]) -> set[str]:
    """What the families of a job read of a text, so that no row is longer than it must be."""
    from assay.families import discover

    known = discover()
    wishes = (known[name].recipe(known[name].Config()) for name in names if name in known)
    return {view for wish in wishes for view in getattr(wish, "views", ())}
