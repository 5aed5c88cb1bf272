"""What a job asks for with several targets: their names, what kind each is of, and their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.data.table import ColumnType, Table
from assay.errors import DataError, SpecError
from assay.multitask.targets import OneTarget
from assay.spec import MIN_ROWS, ColumnFacts

CLASS_LIMIT = 20  # whole numbers with more distinct values than this are amounts
MAX_CLASSES = 200  # of one target
MAX_TARGETS = 50
AUTO = "auto"
NUMBERS = ("regression", "similarity")  # kinds that predict numbers
CLASSES = ("classification", "pair_classification", "ranking")
KINDS = (AUTO, *CLASSES, *NUMBERS, "segmentation")


@dataclass(frozen=True)
class Asked:
    """One entry of task.targets.  columns: of text that it reads, None for what fits."""

    name: str
    kind: str = AUTO
    columns: tuple[str, ...] | None = None


def asked_of(targets: Sequence[Any] | None) -> tuple[Asked, ...]:
    """The entries of task.targets, names or objects.  Raises SpecError."""
    found: list[Asked] = []
    for i, entry in enumerate(targets or ()):
        one = Asked(entry) if isinstance(entry, str) else _read(entry, f"/task/targets/{i}")
        if any(one.name == a.name for a in found):
            raise SpecError(f"task.targets names {one.name!r} twice", pointer=f"/task/targets/{i}")
        found.append(one)
    if len(found) > MAX_TARGETS:
        raise SpecError(f"task.targets names {len(found)} columns; at most {MAX_TARGETS}", pointer="/task/targets")
    return tuple(found)


def at_least_two(asked: Sequence[Asked]) -> None:
    """Raises SpecError where fewer are named."""
    if not asked:
        raise SpecError("multitask needs task.targets, the columns to predict", pointer="/task/targets")
    if len(asked) < 2:
        raise SpecError(
            f"multitask predicts two or more columns, and task.targets names {len(asked)}; for one use task.type "
            "'classification' or 'regression'",
            pointer="/task/targets",
        )


def kind_of(c: ColumnFacts, n_rows: int, pointer: str, wanted: str = AUTO) -> str:
    """ "binary", "multiclass" or "regression" for a column, as its type and its values say, or as wanted (of KINDS)."""
    if n_rows - c.missing < MIN_ROWS:
        raise SpecError(
            f"only {n_rows - c.missing} rows have a value in {c.name!r}; at least {MIN_ROWS} are needed",
            pointer=pointer,
            code="too_few_rows",
        )
    if c.distinct < 2:
        raise SpecError(
            f"{c.name!r} has {c.distinct} distinct value(s); there is nothing to predict",
            pointer=pointer,
            code="single_class_target",
        )
    if c.type in (ColumnType.IMAGE, ColumnType.DATETIME):
        raise SpecError(
            f"{c.name!r} holds {c.type} values; a target is a number or a class. Leave it out of task.targets",
            pointer=pointer,
        )
    if wanted == "segmentation":
        raise SpecError(f"{c.name!r} holds no masks; segmentation is for 'mask' or 'boxes'", pointer=f"{pointer}/kind")
    is_number = c.type != ColumnType.ID or isinstance(getattr(c, "example", ""), (int, float))
    amounts = (ColumnType.INTEGER, ColumnType.ID)
    if wanted in NUMBERS:
        if not is_number or c.type not in (ColumnType.NUMBER, *amounts):
            raise SpecError(f"{c.name!r} holds {c.type} values; {wanted} needs numbers", pointer=f"{pointer}/kind")
        return "regression"
    is_amount = c.type == ColumnType.NUMBER or (c.type in amounts and c.distinct > CLASS_LIMIT)
    if wanted == AUTO and is_number and is_amount:
        return "binary" if c.distinct == 2 else "regression"
    if c.distinct > MAX_CLASSES:
        raise SpecError(
            f"{c.name!r} has {c.distinct} distinct values, more than {MAX_CLASSES} classes of one target; group them first",
            pointer=pointer,
        )
    return "binary" if c.distinct == 2 else "multiclass"


def read_target(table: Table, name: str, kind: str) -> tuple[OneTarget, np.ndarray]:
    """A target and its labels, float64 (n,), NaN where missing.  Raises DataError."""
    from assay.data.labels import labels
    from assay.tasks.classification import order_classes

    if kind == "regression":
        values = table.columns[name]
        if not isinstance(values, np.ndarray):
            raise DataError(f"{name!r} holds words, and was taken for numbers", column=name, code="schema_mismatch")
        return OneTarget(name, kind), np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    words = labels(table, name)
    used = np.unique(words.codes[words.codes >= 0])
    if len(used) < 2:
        raise DataError(f"{name!r} has one class only", column=name, code="single_class_target")
    classes = order_classes([str(words.levels[c]) for c in used], None)
    recode = np.full(len(words.levels) + 1, np.nan)
    for c in used:
        recode[c] = classes.index(str(words.levels[c]))
    return OneTarget(name, "binary" if len(classes) == 2 else "multiclass", tuple(classes)), recode[words.codes]


def _read(entry: Any, pointer: str) -> Asked:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise SpecError(
            'an entry of task.targets is a column\'s name, or an object {"name", "kind", "columns"}', pointer=pointer
        )
    for key in entry:
        if key not in ("name", "kind", "columns"):
            raise SpecError(
                f"{key!r} is not a field of a target; known: name, kind, columns", pointer=f"{pointer}/{key}"
            )
    kind, columns = entry.get("kind") or AUTO, entry.get("columns")
    if kind not in KINDS:
        raise SpecError(f"{kind!r} is not a kind of target; known: {', '.join(KINDS)}", pointer=f"{pointer}/kind")
    if columns is not None and (
        isinstance(columns, str) or not columns or not all(isinstance(c, str) for c in columns)
    ):
        raise SpecError("columns is a list of the names of one column of text or more", pointer=f"{pointer}/columns")
    return Asked(entry["name"], str(kind), None if columns is None else tuple(columns))
