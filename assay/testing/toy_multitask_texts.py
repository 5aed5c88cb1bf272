"""Toy texts with several targets: the mood of one, its topic with few labels, and how much a second text says the same."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from assay.data.table import Column, ColumnType, Table, Words
from assay.data.textfit import fit_front, fit_vocabulary
from assay.data.texts import TextColumn
from assay.families import Split
from assay.multitask.targets import OneTarget, Truth
from assay.multitask.texts import PAIR, SIMILARITY, SINGLE, Reads, TextTarget
from assay.testing.toy import Toy, register
from assay.testing.toy_multitask import multi_loss, naive
from assay.testing.toy_text import FILLER, TELLING

N_TRAIN, N_VALID = 200, 100
TARGETS = (
    OneTarget("mood", "binary", ("bad", "good")),
    OneTarget("topic", "multiclass", ("food", "room", "trip")),
    OneTarget("alike", "regression"),
    OneTarget("same", "binary", ("no", "yes")),
)
READS = (Reads(SINGLE, (0,)), Reads(SINGLE, (0,)), Reads(SIMILARITY, (0, 1)), Reads(PAIR, (0, 1)))
TOPICS = (["soup", "bread", "taste", "cook"], ["bed", "door", "window", "lamp"], ["train", "road", "ticket", "map"])
MISSING = (0.0, 0.6, 0.3, 0.3)  # share of labels missing, by target


def toy_pairs(n: int = N_TRAIN + N_VALID, seed: int = 0) -> tuple[dict[str, Words], Truth]:
    """Texts `first` and `second` (missing in a third of the rows, and the pair's labels with it), and the targets."""
    rng = np.random.default_rng([seed, 11])
    first: list[str | None] = []
    second: list[str | None] = []
    matrix = np.full((n, len(TARGETS)), np.nan)
    words = [w for group in (*TELLING, *TOPICS) for w in group]
    for i in range(n):
        mood, topic = int(rng.integers(2)), int(rng.integers(3))
        own = [*rng.choice(TELLING[1 - mood], 2), *rng.choice(TOPICS[topic], 2)]
        text = [str(w) for w in rng.permutation([*own, *rng.choice(FILLER, 4)])]
        first.append(" ".join(text))
        matrix[i, :2] = mood, topic
        second.append(None)
        if i % 3:
            share = float(rng.choice([0.0, 0.5, 1.0]))
            kept = [w if rng.random() < share else str(rng.choice(words)) for w in text]
            second[-1] = " ".join(str(w) for w in rng.permutation(kept))
            matrix[i, 2] = 10 * np.mean([w in text for w in kept])
            matrix[i, 3] = share > 0.25
    gaps = rng.random((n, len(TARGETS))) < np.array(MISSING)
    return {"first": Words.of(first), "second": Words.of(second)}, Truth.of(np.where(gaps, np.nan, matrix), TARGETS)


def pairs_table(n: int = N_TRAIN + N_VALID, seed: int = 0) -> Table:
    """The table as a user would upload it."""
    texts, truth = toy_pairs(n, seed)
    columns: dict[str, Column] = dict(texts)
    types = dict.fromkeys(texts, ColumnType.TEXT)
    for i, target in enumerate(truth.targets):
        values = np.asarray(truth)[:, i]
        if target.classes:
            columns[target.name] = Words.of([None if np.isnan(v) else target.classes[int(v)] for v in values])
            types[target.name] = ColumnType.CATEGORY
        else:
            columns[target.name], types[target.name] = values, ColumnType.NUMBER
    return Table(columns, types)


@cache
def _toy() -> tuple[Table, Truth]:
    texts, truth = toy_pairs()
    train = {name: words.take(np.arange(N_TRAIN)) for name, words in texts.items()}
    vocabulary = fit_vocabulary(train.values())
    columns = {n: TextColumn.over(w, fit_front(train[n], 2, vocabulary)) for n, w in texts.items()}
    return Table(dict(columns), dict.fromkeys(columns, ColumnType.TEXT)), truth


def _split(wish: Any) -> Split:
    table, truth = _toy()
    train, valid = np.arange(N_TRAIN), np.arange(N_TRAIN, len(truth))
    target = TextTarget.over(TARGETS, READS, "multitask_score")
    preparation, x = wish.fit(table.take(train), truth[train], target, seed=0)
    return Split(x, truth[train], preparation.transform(table.take(valid)), truth[valid], target)


register("multitask", lambda: Toy("texts with four targets", _split, multi_loss, naive, "texts"))
