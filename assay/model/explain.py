"""Which columns made an answer: what changes when one of them is not known.

Occlusion after Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (ECCV 2014), over the columns
of a row: a contribution is the answer with the column less the answer with the column missing.  The delivered graph
itself is asked, so the explanation is of what is served.  Contributions of columns that stand in for each other are
small, and they need not add up.

Models that attend to parts of a text say where, too: the weights of their pooling, for every subword.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.data.front_text import TextFront
from assay.data.table import Blobs, Column, Table, Words
from assay.errors import DataError
from assay.model.compose import decide
from assay.model.predict import EXPLAINS
from assay.tasks import discover as tasks

if TYPE_CHECKING:
    from assay.model.predict import Model

STEPS = "steps"  # the view of models that attend to the steps of a series


@dataclass(frozen=True)
class Explanation:
    """One row's answer.  output: the class whose probability is explained, or "value".  base: with nothing known.

    targets: of a model of several targets, the same for each; `output` and what goes with it is then of the first.
    """

    value: Any
    output: str
    base: float
    contributions: dict[str, float]
    attention: dict[str, list[Attended]] | None = None  # by column of text; None for models that do not attend
    targets: dict[str, TargetPart] | None = None


@dataclass(frozen=True)
class TargetPart:
    """Of one target's answer for a row; see `Explanation`."""

    output: str
    base: float
    contributions: dict[str, float]


@dataclass(frozen=True)
class Attended:
    """A subword and its share of the attention, mean over the members that attend."""

    token: str
    weight: float


def explain(model: Model, table: Table) -> list[Explanation]:
    """Contributions of every column to the answer of every row.  Costs n * (columns + 1) + 1 predictions."""
    own_way = getattr(tasks().get(model.manifest.task), "explain", None)
    if own_way is not None:  # a task whose answers are not one a row
        told: list[Explanation] = own_way(model, table)
        return told
    n, names = len(table), [f.name for f in model.schema if not f.role]
    if n == 0:
        return []
    if any(t["kind"] != "segmentation" for t in model.manifest.info.get("targets") or ()):
        return _of_several(model, table, names)
    if not {"probabilities", "value"} & model.manifest.outputs.keys():
        text = f"a model of task {model.manifest.task} has no one probability or value whose parts could be told"
        raise DataError(f"{text}; use predict", code="validation_error")
    known = model.numbers(table)
    occluded = [model.numbers(_without(table, name)) for name in names]  # each (n, k)
    nothing = table.take(np.array([0]))
    for name in names:
        nothing = _without(nothing, name)
    base = model.numbers(nothing)[0]
    classes = model.manifest.classes
    chosen = decide(known, model.manifest.threshold) if classes else np.zeros(n, dtype=np.int64)
    found = []
    attended = _attention(model, table)
    for i, k in enumerate(chosen.tolist()):
        contributions = {name: float(known[i, k] - o[i, k]) for name, o in zip(names, occluded, strict=True)}
        value = classes[k] if classes else float(known[i, 0])
        found.append(Explanation(value, classes[k] if classes else "value", float(base[k]), contributions, attended[i]))
    return found


def _of_several(model: Model, table: Table, names: list[str]) -> list[Explanation]:
    """Of every target but masks, which have no one number whose parts could be told."""
    from assay.model.predict import answers

    told = [(i, t) for i, t in enumerate(model.manifest.info["targets"]) if t["kind"] != "segmentation"]
    outputs = {t["name"]: f"probabilities_{i}" if t["classes"] else f"value_{i}" for i, t in told}
    nothing = table.take(np.array([0]))
    for name in names:
        nothing = _without(nothing, name)
    wanted = list(outputs.values())
    known, base = model.run(table, wanted), model.run(nothing, wanted)
    occluded = {name: model.run(_without(table, name), wanted) for name in names}
    values = [a["value"] for a in answers(model.run(table), model.manifest)]
    attended = _attention(model, table)
    found = []
    for row, value in enumerate(values):
        parts: dict[str, TargetPart] = {}
        for _, t in told:
            out = outputs[t["name"]]
            k = int(known[out][row].argmax()) if t["classes"] else 0
            moved = {n: float(known[out][row, k] - o[out][row, k]) for n, o in occluded.items()}
            parts[t["name"]] = TargetPart(t["classes"][k] if t["classes"] else "value", float(base[out][0, k]), moved)
        first = parts[told[0][1]["name"]]
        found.append(Explanation(value, first.output, first.base, first.contributions, attended[row], parts))
    return found


def _attention(model: Model, table: Table) -> list[dict[str, list[Attended]] | None]:
    """For every row the weights of every column's subwords; a second view of a column has its name behind it."""
    shown = [name for name in model.manifest.outputs if name.startswith(EXPLAINS)]
    if not shown:
        return [None] * len(table)
    outputs = model.run(table, shown)
    found: list[dict[str, list[Attended]] | None] = []
    for i in range(len(table)):
        told: dict[str, list[Attended]] = {}
        for name in shown:
            view, place = name.removeprefix(EXPLAINS), 0
            if view == STEPS:
                told[STEPS] = [Attended(t, w) for t, w in zip(_steps(model), outputs[name][i].tolist(), strict=True)]
                continue
            for field in model.schema:
                if not isinstance(field.front, TextFront):
                    continue
                start, end = field.front.span(view)
                text = str(table.words(field.name).take(np.array([i])).values()[0])
                weights = outputs[name][i, place : place + end - start].tolist()
                place += end - start
                key = field.name if field.name not in told else f"{field.name} ({view})"
                told[key] = [Attended(t, w) for t, w in zip(field.front.tokens(text, view), weights, strict=False)]
        found.append(told)
    return found


def _steps(model: Model) -> list[str]:
    """What the steps of a series are called: by their columns, or by their place where a column is a series."""
    fields = [f for f in model.schema if not f.role]
    if fields[0].front is None:
        return [f.name for f in fields]
    return [str(i) for i in range(int(fields[0].front.shape[0] or 0))]


def _without(table: Table, name: str) -> Table:
    column = table.columns[name]
    empty: Column
    if isinstance(column, Words):
        empty = Words(np.full_like(column.codes, -1), column.levels)
    elif isinstance(column, Blobs):
        empty = Blobs.of([None] * len(column))
    else:
        empty = np.full_like(column, np.nan)
    return Table({**table.columns, name: empty}, table.types)
