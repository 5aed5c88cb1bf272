"""Free text as a few telling words: presence of each, and how many words there are.

Words are what stands between spaces, taken as they are written: string nodes can split, but they can neither fold case
nor strip punctuation without depending on the machine's locale.  So "good", "Good" and "good," are three words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.data.encoders import Signal
from assay.data.table import Words
from assay.model.graph import ML, Scope

MAX_WORDS = 64
MAX_TEXTS = 10_000  # texts looked at to choose the words


@dataclass(frozen=True, eq=False)
class Bag:
    """A fitted bag of words of one column.  mean, deviation: of the number of words (0 and 1: as counted)."""

    column: str
    words: tuple[str, ...]
    mean: np.float32
    deviation: np.float32

    @property
    def names(self) -> tuple[str, ...]:
        return ("words", *(f"has {w!r}" for w in self.words))

    def apply(self, texts: Words) -> np.ndarray:
        """float32 (n, 1 + len(words))."""
        tokens, owner, count = split_tokens(texts.levels, {w: i for i, w in enumerate(self.words)})
        table = np.zeros((len(texts.levels) + 1, 1 + len(self.words)), np.float32)  # the last row is "missing"
        known = tokens < len(self.words)
        table[owner[known], 1 + tokens[known]] = 1
        table[:-1, 0] = count
        table[:, 0] = (table[:, 0] - self.mean) / self.deviation
        return np.asarray(table[texts.codes])

    def emit(self, scope: Scope, x: str) -> str:
        """From a string value [N, 1] to [N, 1 + len(words)]."""
        k = len(self.words)
        split, count = scope.add_many("StringSplit", x, outputs=2)  # [N, 1, T], [N, 1]
        centred = scope.add("Sub", scope.add("Cast", count, to=1), scope.const(self.mean))
        scaled = scope.add("Div", centred, scope.const(self.deviation))
        if not k:
            return scaled
        marked = emit_words(scope, x, split, self.words, "max")
        first = scope.add("Slice", marked, *(scope.const(np.array([v], np.int64)) for v in (0, k, 1)))
        return scope.add("Concat", scaled, first, axis=1)


def emit_words(scope: Scope, x: str, split: str, words: Sequence[str], reduction: str) -> str:
    """From the tokens [N, 1, T] of a string value x [N, 1] to [N, k + 1]: of every word whether it occurs ("max") or how
    often ("add"); column k is of all other words."""
    k = len(words)
    flat = scope.add("Squeeze", split, scope.const(np.array([1], np.int64)))  # [N, T]
    word = scope.add(
        "LabelEncoder",
        flat,
        domain=ML,
        keys_strings=list(words),
        values_int64s=list(range(k)),
        default_int64=k,
    )
    n = scope.add("Shape", x, start=0, end=1)
    shape = scope.add("Concat", n, scope.const(np.array([k + 1], np.int64)), axis=0)
    blank = scope.add("Expand", scope.const(np.zeros((1, 1), np.float32)), shape)
    ones = scope.add("Cast", scope.add("GreaterOrEqual", word, scope.const(np.int64(0))), to=1)
    return scope.add("ScatterElements", blank, word, ones, axis=1, reduction=reduction)


def fit_bag(name: str, texts: Words, signal: Signal, scaled: bool) -> tuple[Bag, np.ndarray]:
    """Choose the words whose presence tells most of the target, and count words."""
    words = telling_words(texts, signal)
    counted = Bag(name, (), np.float32(0), np.float32(1)).apply(texts)[:, 0].astype(np.float64)
    spread = float(counted.std())
    if scaled and spread > 0:
        bag = Bag(name, words, np.float32(counted.mean()), np.float32(spread))
    else:
        bag = Bag(name, words, np.float32(0), np.float32(1))
    return bag, bag.apply(texts)


def telling_words(texts: Words, signal: Signal) -> tuple[str, ...]:
    """The up to MAX_WORDS words with the largest squared correlation of presence and target (summed over its columns).

    For a class share this is the chi-squared statistic of the 2x2 table divided by n.  A word must stand in at least
    three texts and half a percent of them.
    """
    rows = np.flatnonzero(texts.codes >= 0)[:MAX_TEXTS]
    if len(rows) < 3:
        return ()
    used, of_row = np.unique(texts.codes[rows], return_inverse=True)
    vocabulary: dict[str, int] = {}
    tokens, owner, _ = split_tokens(texts.levels[used], vocabulary, grow=True)
    weight = signal.weight[rows]
    centred = signal.values[rows] - np.average(signal.values[rows], axis=0, weights=np.maximum(weight, 1e-12))
    k, m = len(used), len(vocabulary)
    n_level = np.bincount(of_row, weight, k)
    pairs = np.unique(owner.astype(np.int64) * max(m, 1) + tokens)  # a word counts once a text
    owner, tokens = pairs // max(m, 1), pairs % max(m, 1)
    presence = np.bincount(tokens, n_level[owner], m)
    texts_with = np.bincount(tokens, np.bincount(of_row, minlength=k)[owner], m)
    share = presence / max(float(weight.sum()), 1e-12)
    told = np.zeros(m)
    for v in centred.T:
        covariance = np.bincount(tokens, np.bincount(of_row, weight * v, k)[owner], m)
        told += covariance**2 / max(float((weight * v * v).sum()), 1e-12)
    told /= np.maximum(presence * (1 - share), 1e-12)
    fit = (texts_with >= max(3, 0.005 * len(rows))) & (texts_with < len(rows))
    spelled = list(vocabulary)
    order = sorted(np.flatnonzero(fit), key=lambda i: (-round(float(told[i]), 12), spelled[i]))
    return tuple(spelled[i] for i in order[:MAX_WORDS])


def split_tokens(
    levels: np.ndarray, vocabulary: dict[str, int], grow: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Word numbers of all texts end to end, the text each is from, and words a text.  Unknown: len(vocabulary)."""
    split = [[t for t in str(v).split(" ") if t] for v in levels]
    count = np.array([len(s) for s in split], np.int64)
    if grow:
        numbers = [vocabulary.setdefault(t, len(vocabulary)) for s in split for t in s]
    else:
        other = len(vocabulary)
        numbers = [vocabulary.get(t, other) for s in split for t in s]
    return np.array(numbers, np.int64), np.repeat(np.arange(len(levels)), count), count.astype(np.float32)
