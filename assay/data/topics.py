"""Free text as a few topics: latent semantic analysis of words weighed by how rare they are.

Deerwester et al., "Indexing by Latent Semantic Analysis", JASIS 1990.  Changed so that a graph computes the very same
numbers: words are counted, not their logarithms; the loadings are whole numbers, so that sums of them are exact in
float32 in any order; and the sum is divided by the number of words instead of a norm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assay.data.bag import MAX_TEXTS, emit_words, split_tokens
from assay.data.table import Words
from assay.model.graph import Scope

VOCABULARY = 1000  # words that stand in the most texts
LEAST_TEXTS = 3  # that a word stands in
LEAST_WORDS = 20  # of a vocabulary worth topics
TOPICS = 12
STEPS = 127  # largest loading


@dataclass(frozen=True, eq=False)
class Topics:
    """A fitted column.  loadings: float32 whole numbers (len(words), m)."""

    column: str
    words: tuple[str, ...]
    loadings: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"topic {i}" for i in range(self.loadings.shape[1]))

    def apply(self, texts: Words) -> np.ndarray:
        """float32 (n, m)."""
        k = len(self.words)
        tokens, owner, count = split_tokens(texts.levels, {w: i for i, w in enumerate(self.words)})
        known = tokens < k
        sums = np.zeros((len(texts.levels) + 1, self.loadings.shape[1]), np.float32)  # the last row is "missing"
        np.add.at(sums, owner[known], self.loadings[tokens[known]])
        length = np.append(np.maximum(count, 1), 1).astype(np.float32)
        return np.asarray((sums / length[:, None])[texts.codes])

    def emit(self, scope: Scope, x: str) -> str:
        """From a string value [N, 1] to [N, m]."""
        split, count = scope.add_many("StringSplit", x, outputs=2)  # [N, 1, T], [N, 1]
        counted = emit_words(scope, x, split, self.words, "add")
        loadings = np.vstack([self.loadings, np.zeros((1, self.loadings.shape[1]), np.float32)])
        sums = scope.add("MatMul", counted, scope.const(loadings))
        length = scope.add("Max", scope.add("Cast", count, to=1), scope.const(np.float32(1)))
        return scope.add("Div", sums, length)


def fit_topics(name: str, texts: Words, seed: int) -> tuple[Topics, np.ndarray] | None:
    """None where there are too few words that several texts share."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.linalg import svds

    rows = np.flatnonzero(texts.codes >= 0)[:MAX_TEXTS]
    used, of_row = np.unique(texts.codes[rows], return_inverse=True)
    vocabulary: dict[str, int] = {}
    tokens, owner, _ = split_tokens(texts.levels[used], vocabulary, grow=True)
    times = np.bincount(of_row, minlength=len(used))
    counts = csr_matrix((np.ones(len(tokens)), (owner, tokens)), (len(used), max(1, len(vocabulary))))
    standing = np.asarray((counts > 0).astype(float).T @ times).ravel()
    spelled = list(vocabulary)
    order = sorted(np.flatnonzero(standing >= LEAST_TEXTS).tolist(), key=lambda i: (-standing[i], spelled[i]))
    kept = np.array(order[:VOCABULARY], np.int64)
    m = min(TOPICS, len(kept) // 4)
    if len(kept) < LEAST_WORDS or len(used) < 2 * TOPICS:
        return None
    rarity = np.log((1 + len(rows)) / (1 + standing[kept])) + 1
    weighed = counts[:, kept].multiply(rarity[None])
    norms = np.sqrt(np.asarray(weighed.multiply(weighed).sum(1)).ravel())
    scaled = csr_matrix(weighed.multiply((np.sqrt(times) / np.maximum(norms, 1e-12))[:, None]))
    start = np.random.default_rng([seed, 15]).normal(size=min(scaled.shape))
    _, strength, axes = svds(scaled, k=m, v0=start)
    axes = axes[np.argsort(-strength, kind="stable")]
    axes *= np.sign(axes[np.arange(m), np.abs(axes).argmax(1)])[:, None]
    loadings = (axes * rarity[None]).T  # (words, m)
    loadings = np.round(loadings * (STEPS / np.maximum(np.abs(loadings).max(0), 1e-12)))
    topics = Topics(name, tuple(spelled[i] for i in kept), loadings.astype(np.float32))
    return topics, topics.apply(texts)
