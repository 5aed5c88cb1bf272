"""Fitting the front of texts: how long a row must be, and the subwords that spell the training texts.

Subwords are learned by byte-pair merging over characters (Sennrich, Haddow, Birch: Neural Machine Translation of Rare
Words with Subword Units, ACL 2016), and texts are cut by longest match (as in WordPiece: Wu et al., Google's Neural
Machine Translation System, 2016).  Nothing here sees a target.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

import numpy as np

from assay.data.front_text import GOES_ON, TextFront, normalised, pieces_of, words_of
from assay.data.table import Words

CELLS = 24_000_000  # of the encoded texts of a job, all columns together: 96 MB
CHAR_CELLS = 3_000_000  # of characters: each makes several n-grams, which long texts need less
MOST_CHARS, MOST_WORDS, MOST_PIECES, MOST_ENCODER = 1024, 2048, 128, 64
SAMPLE = 4_000  # texts whose length is looked at
LEARNED_FROM = 20_000  # texts that subwords are learned from
WORD_TYPES = 8_000  # different words that subwords are learned from, the frequent ones
CHARACTERS = 1_500  # single characters in the vocabulary, the frequent ones
PIECES = 3_000  # subwords in the vocabulary at most
LEAST_PAIRS = 3  # occurrences of a pair that is merged


def fit_front(texts: Words, n_columns: int = 1, vocabulary: tuple[str, ...] = (), tokenizer: str = "") -> TextFront:
    """The front of one column.  texts: of the training rows.  vocabulary: of subwords, see `fit_vocabulary`.  tokenizer:
    of a pretrained encoder, as JSON."""
    used = _texts(texts)
    rng = np.random.default_rng(0)
    sample = used if len(used) <= SAMPLE else [used[i] for i in np.sort(rng.choice(len(used), SAMPLE, replace=False))]
    plain = [normalised(t) for t in sample]
    cut = [words_of(t, MOST_WORDS) for t in plain]
    room = int(np.clip(CELLS / max(1, len(texts) * n_columns), 192, 4096))
    n_pieces = n_encoder = 0
    if vocabulary:
        known = {p: i for i, p in enumerate(vocabulary)}
        n_pieces = _most([sum(len(pieces_of(w, known)) for w in c[:MOST_PIECES]) for c in cut], 0.97, 8, MOST_PIECES)
    if tokenizer:
        n_encoder = _most([round(1.4 * len(c)) + 2 for c in cut], 0.97, 8, min(MOST_ENCODER, 256 // n_columns))
    words = _most([len(c) + 2 for c in cut], 0.99, 8, min(MOST_WORDS, int(0.6 * room)))
    left = max(96, min(room - words - n_pieces - n_encoder, CHAR_CELLS // max(1, len(texts) * n_columns)))
    chars = _most([len(t) + 2 for t in plain], 0.99, 16, min(MOST_CHARS, left))
    return TextFront(chars, words, n_pieces, n_encoder, vocabulary, tokenizer)


def fit_vocabulary(columns: Iterable[Words]) -> tuple[str, ...]:
    """One vocabulary of subwords for all columns, from the training rows' texts."""
    counts: Counter[str] = Counter()
    for texts in columns:
        counts.update(_counted(_texts(texts), np.random.default_rng(0)))
    return learn_pieces(counts)


def _texts(words: Words) -> list[str]:
    return [str(words.levels[c]) for c in np.unique(words.codes) if c >= 0]


def _most(lengths: list[int], share: float, least: int, most: int) -> int:
    """A length that this share of the texts does not pass, within bounds."""
    found = float(np.quantile(lengths, share)) if lengths else 0.0
    return int(np.clip(np.ceil(found), least, most))


def _counted(texts: list[str], rng: np.random.Generator) -> Counter[str]:
    """Words of up to LEARNED_FROM texts with how often they stand there."""
    if len(texts) > LEARNED_FROM:
        texts = [texts[i] for i in np.sort(rng.choice(len(texts), LEARNED_FROM, replace=False))]
    found: Counter[str] = Counter()
    for text in texts:
        found.update(words_of(normalised(text), MOST_WORDS))
    return found


def learn_pieces(counts: Mapping[str, int], size: int = PIECES) -> tuple[str, ...]:
    """A vocabulary of subwords for words with their counts: characters first, then merges in order.

    The same counts give the same vocabulary: ties go to the pair that sorts first.
    """
    kept = sorted((w for w in counts if counts[w] > 1), key=lambda w: (-counts[w], w))[:WORD_TYPES] or list(counts)
    spelled = [[c if i == 0 else GOES_ON + c for i, c in enumerate(w[:24])] for w in kept]
    times = [counts[w] for w in kept]
    letters: Counter[str] = Counter()
    for word, n in zip(spelled, times, strict=True):
        for c in word:
            letters[c] += n
    vocabulary = dict.fromkeys(c for c, _ in sorted(letters.items(), key=lambda e: (-e[1], e[0]))[:CHARACTERS])
    pairs: Counter[tuple[str, str]] = Counter()
    where: dict[tuple[str, str], set[int]] = defaultdict(set)
    for i, word in enumerate(spelled):
        for pair in _pairs(word):
            pairs[pair] += times[i]
            where[pair].add(i)
    queue = [(-n, pair) for pair, n in pairs.items() if n >= LEAST_PAIRS]
    heapq.heapify(queue)
    while queue and len(vocabulary) < size:
        n, pair = heapq.heappop(queue)
        if -n != pairs[pair]:
            continue  # an old count; the new one is in the queue, too
        joined = pair[0] + pair[1].removeprefix(GOES_ON)
        vocabulary[joined] = None
        change: Counter[tuple[str, str]] = Counter()
        for i in where.pop(pair):
            word = _merged(spelled[i], pair, joined)
            for old in _pairs(spelled[i]):
                change[old] -= times[i]
            for new in _pairs(word):
                change[new] += times[i]
                if joined in new:
                    where[new].add(i)
            spelled[i] = word
        for touched, by in change.items():
            pairs[touched] += by
            if by and pairs[touched] >= LEAST_PAIRS and touched != pair:
                heapq.heappush(queue, (-pairs[touched], touched))
        pairs[pair] = 0
    return tuple(vocabulary)


def _pairs(word: list[str]) -> Iterable[tuple[str, str]]:
    return itertools.pairwise(word)


def _merged(word: list[str], pair: tuple[str, str], joined: str) -> list[str]:
    out: list[str] = []
    i = 0
    while i < len(word):
        if i + 1 < len(word) and (word[i], word[i + 1]) == pair:
            out.append(joined)
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out
