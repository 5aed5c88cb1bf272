"""Which form a job with several targets has: a table, texts or pictures."""

from __future__ import annotations

import difflib

from assay.data.table import ColumnType, Table
from assay.errors import SpecError
from assay.families import Shape, for_task
from assay.multitask.texts import PAIR, RANKING, SIMILARITY
from assay.spec import JobSpec, ProfileFacts, Resolved
from assay.tasks import _multitask as tables
from assay.tasks import _multitask_pictures as pictures
from assay.tasks import _multitask_texts as texts
from assay.tasks._multitask_kinds import Asked, asked_of
from assay.tasks._problem import Problem

TABLE, TEXTS, PICTURES = "table", "texts", "pictures"
_NO_USE = ("target", "positive_class", "horizon")


def resolve(spec: JobSpec, profile: ProfileFacts, metric: str) -> Resolved:
    """Every `auto` decided.  Raises SpecError."""
    for name in _NO_USE:
        if getattr(spec.task, name) is not None:
            way_out = "name all targets in task.targets" if name == "target" else "leave it out"
            raise SpecError(f"multitask has no use for task.{name}; {way_out}", pointer=f"/task/{name}")
    asked = asked_of(spec.task.targets)
    form, why = _form(spec, profile, asked)
    families = _families(spec, form, why, profile)
    if form == PICTURES:
        return pictures.resolve(spec, profile, asked, families, metric)
    if form == TEXTS:
        return texts.resolve(spec, profile, asked, families, metric)
    return tables.resolve(spec, profile, asked, families, metric)


def prepare(table: Table, resolved: Resolved) -> Problem:
    form = resolved.options.get("form")
    if form == PICTURES:
        return pictures.prepare(table, resolved)
    return texts.prepare(table, resolved) if form == TEXTS else tables.prepare(table, resolved)


def _form(spec: JobSpec, profile: ProfileFacts, asked: tuple[Asked, ...]) -> tuple[str, str]:
    """The form, and why."""
    if any(c.type == ColumnType.IMAGE for c in profile.columns):
        return PICTURES, "the dataset holds pictures"
    targets = {a.name for a in asked} | set(spec.task.ignore_columns)
    roles = {spec.task.group_column, spec.task.time_column, spec.task.weight_column}
    types = {c.type for c in profile.columns if c.name not in targets | roles}
    named = [f for name in spec.search.families or () if (f := for_task(spec.task.type).get(name)) is not None]
    if named:
        form = getattr(named[0], "form", TABLE)
        if form == TEXTS:
            return TEXTS, f"{named[0].name!r}, named first, reads texts"
        return TABLE, f"{named[0].name!r}, named first, reads tables" if form == TABLE else "the dataset is a table"
    if any(a.columns is not None or a.kind in (PAIR, SIMILARITY, RANKING) for a in asked):
        return TEXTS, "task.targets names columns of text"
    others = types & {ColumnType.NUMBER, ColumnType.INTEGER, ColumnType.DATETIME}
    if ColumnType.TEXT in types and not others:
        return TEXTS, "the columns to predict from are texts"
    return TABLE, "the dataset is a table"


def _families(spec: JobSpec, form: str, why: str, profile: ProfileFacts) -> tuple[str, ...]:
    """Those of the form, cheap ones first, or as asked.  Raises SpecError for one that reads another form."""
    known = for_task(spec.task.type)
    fitting = {n: f for n, f in known.items() if getattr(f, "form", TABLE) == form}
    if spec.search.families is None:
        shape = Shape(profile.n_rows, max(1, len(profile.columns) - len(spec.task.targets or ())))
        usual = [n for n, f in fitting.items() if getattr(f, "by_default", True)]
        return tuple(sorted(usual, key=lambda n: fitting[n].cost(fitting[n].Config(), shape).seconds))
    if not spec.search.families:
        raise SpecError("search.families is empty; name one or leave it out for all", pointer="/search/families")
    for i, name in enumerate(spec.search.families):
        pointer = f"/search/families/{i}"
        if name not in known:
            close = difflib.get_close_matches(name, list(known), n=1)
            hint = f"closest: {close[0]!r}" if close else f"known: {', '.join(known)}"
            raise SpecError(f"{name!r} is not a family for {spec.task.type}; {hint}", pointer=pointer)
        if name not in fitting:
            raise SpecError(
                f"{name!r} reads {getattr(known[name], 'form', TABLE)}, and {why}; families for it: {', '.join(fitting)}",
                pointer=pointer,
            )
    return tuple(dict.fromkeys(spec.search.families))
