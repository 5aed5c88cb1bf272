"""Metrics of generators: samples against real rows that training never saw, in a space of features made for both.

Truth is a `Real`, prediction a `Made`.  None of them rewards copying the training rows: the real side is held out, and
`memorised` counts the samples that lie closer to training rows than held-out rows do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import numpy as np

from assay.metrics._metric import Metric

MOST = 2000  # rows of each side that are compared
NEIGHBOURS = 5
FOLDS = 5
TEACHING = 4  # power of tstr in fidelity
NEAR = 0.1  # of the median distance from a held-out row to the nearest training row: closer than this is a copy


@dataclass(frozen=True, eq=False)
class Real:
    """Held-out rows.  features: (n, d) for a classifier, NaN is missing; embedding: (n, e), where Euclidean distance
    means something; train: (m, e), the embedding of the training rows."""

    features: np.ndarray
    embedding: np.ndarray
    train: np.ndarray


@dataclass(frozen=True, eq=False)
class Made:
    """Samples in the same spaces.  bits: per dimension of the held-out rows; tstr: see `tstr`; NaN where there is none."""

    features: np.ndarray
    embedding: np.ndarray
    bits: float = float("nan")
    tstr: float = float("nan")
    told: WeakKeyDictionary[Real, float] = field(
        default_factory=WeakKeyDictionary, repr=False
    )  # two_sample, reckoned once


def two_sample(real: Real, made: Made, weight: np.ndarray | None = None) -> float:
    """1 - 2 max(0, AUC - 1/2) of gradient-boosted trees that tell samples from held-out rows, cross-validated.

    1: nobody can tell; 0: told without an error.  Lopez-Paz, Oquab, "Revisiting Classifier Two-Sample Tests", ICLR 2017;
    the area under the ROC curve in place of the accuracy.
    """
    if real not in made.told:
        made.told[real] = _two_sample(real, made)
    return made.told[real]


def _two_sample(real: Real, made: Made) -> float:
    from lightgbm import LGBMClassifier
    from sklearn.model_selection import StratifiedKFold

    from assay.metrics.tabular import auc

    n = min(len(real.features), MOST)
    a, b = real.features[:n], made.features[: min(len(made.features), max(n, min(4 * n, MOST)))]
    x, y = np.concatenate([a, b]), np.repeat([0, 1], [len(a), len(b)])
    if min(len(a), len(b)) < 2 * FOLDS:
        return float("nan")
    answers = np.zeros(len(y))
    for fold, (train, test) in enumerate(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(x, y)):
        model = LGBMClassifier(
            n_estimators=60, num_leaves=15, min_child_samples=max(3, min(20, len(train) // 20)), learning_rate=0.1,
            n_jobs=1, random_state=fold, verbose=-1, deterministic=True, class_weight="balanced",
        )  # fmt: skip
        model.fit(x[train], y[train])
        answers[test] = np.asarray(model.predict_proba(x[test]))[:, 1]
    return 1.0 - 2.0 * max(0.0, auc(y, answers) - 0.5)


def frechet(real: Real, made: Made, weight: np.ndarray | None = None) -> float:
    """Squared Fréchet distance of two normal distributions with the means and covariances of the embeddings.

    Heusel et al., "GANs Trained by a Two Time-Scale Update Rule", NeurIPS 2017; our embedding needs no foreign network.
    """
    a, b = real.embedding, made.embedding
    if min(len(a), len(b)) < 2:
        return float("nan")
    ca, cb = np.atleast_2d(np.cov(a.T)), np.atleast_2d(np.cov(b.T))
    values, vectors = np.linalg.eigh(ca)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ cb @ root), 0, None)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca) + np.trace(cb) - 2.0 * cross)


def sample_precision(real: Real, made: Made, weight: np.ndarray | None = None) -> float:
    """Share of samples that lie among the held-out rows: within the k-nearest-neighbour ball of one of them.

    Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models", NeurIPS 2019.
    """
    return _inside(made.embedding[:MOST], real.embedding[:MOST])


def sample_recall(real: Real, made: Made, weight: np.ndarray | None = None) -> float:
    """Share of held-out rows that lie among the samples, likewise: low when kinds of rows are never drawn."""
    return _inside(real.embedding[:MOST], made.embedding[: min(MOST, len(real.embedding))])


def memorised(real: Real, made: Made, weight: np.ndarray | None = None) -> float:
    """Share of samples that are copies of training rows, less the share of held-out rows that are by chance, less two
    standard errors of the difference: what is left is not chance.
    """
    drawn, chance, error = copies(real, made)
    return max(0.0, drawn - chance - 2.0 * error)


def copies(real: Real, made: Made) -> tuple[float, float, float]:
    """(share of samples that are copies, share of held-out rows that are, standard error of the difference)."""
    held, drawn = (nearest(x[:MOST], real.train) for x in (real.embedding, made.embedding))
    near = NEAR * float(np.median(held)) + 1e-6
    a, b = float((drawn <= near).mean()), float((held <= near).mean())
    pooled = (a * len(drawn) + b * len(held)) / (len(drawn) + len(held))
    return a, b, float(np.sqrt(pooled * (1 - pooled) * (1 / len(drawn) + 1 / len(held))))


def nearest(points: np.ndarray, others: np.ndarray, own: bool = False) -> np.ndarray:
    """Distance of each point to the nearest of the others.  own: the points are the first of the others, and none is near to
    itself."""
    found = np.empty(len(points))
    for start in range(0, len(points), 256):
        squares = _squares(points[start : start + 256], others)
        if own:
            i = np.arange(len(squares))
            squares[i, start + i] = np.inf
        found[start : start + 256] = squares.min(1)
    return np.sqrt(found)


def _inside(points: np.ndarray, centres: np.ndarray) -> float:
    k = min(NEIGHBOURS, len(centres) - 1)
    if k < 1 or not len(points):
        return float("nan")
    radius = np.partition(_squares(centres, centres), k, axis=1)[:, k]  # the nearest of all is the centre itself
    return float((_squares(points, centres) <= radius[None] + 1e-9).any(1).mean())


def _squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances (n, m), in double: near copies must not drown in rounding."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.asarray(np.clip((a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2.0 * (a @ b.T), 0.0, None))


def _bits(real: Real, made: Made, weight: np.ndarray | None) -> float:
    return made.bits


def _tstr(real: Real, made: Made, weight: np.ndarray | None) -> float:
    return made.tstr


def fidelity(real: Real, made: Made, weight: np.ndarray | None = None) -> float:
    """two_sample times the fourth power of tstr, which counts up to 1; two_sample alone where there is no tstr.

    Each alone is blind: the first hardly sees a loosened tie to one column, the second sees that one alone.
    """
    return weighed(two_sample(real, made), made.tstr)


def weighed(told: float, taught: float, enough: float = 1.0) -> float:
    """fidelity of a two_sample and a tstr that counts up to `enough`."""
    return told if np.isnan(taught) else told * float(np.clip(taught / enough, 0.0, 1.0)) ** TEACHING


_ROWS, _BOTH = frozenset({"generated_rows"}), frozenset({"generated_rows", "generated_images"})

metrics = [
    Metric(
        "two_sample", _BOTH, True, two_sample, "1 - 2 max(0, AUC - 1/2) of trees that tell samples from held-out data"
    ),
    Metric(
        "bits_per_dim", _BOTH, False, _bits, "bits per dimension of held-out data, where the model has a likelihood"
    ),
    Metric(
        "frechet", _BOTH, False, frechet, "squared Fréchet distance between samples and held-out data in feature space"
    ),
    Metric("sample_precision", _BOTH, True, sample_precision, "share of samples that lie among the held-out data"),
    Metric("sample_recall", _BOTH, True, sample_recall, "share of held-out data that lie among the samples"),
    Metric("memorised", _BOTH, False, memorised, "share of samples that copy training data, beyond chance"),
    Metric("fidelity", _ROWS, True, fidelity, "two_sample times the fourth power of tstr, which counts up to 1"),
    Metric(
        "tstr", _ROWS, True, _tstr, "score of a model trained on samples, divided by that of one trained on real rows"
    ),
]
