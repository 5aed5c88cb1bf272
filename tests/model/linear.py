"""Small fitted models for the tests of the delivered graph: scikit-learn inside, nodes by hand outside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assay.data.prepare import Recipe, fit
from assay.data.table import ColumnType, Table, Words
from assay.families import Target
from assay.model.compose import FoldModel
from assay.model.graph import Graph, Scope


@dataclass(frozen=True, eq=False)
class Linear:
    """x W + b, through a softmax if it tells classes apart."""

    weight: np.ndarray  # (d, k)
    bias: np.ndarray  # (k,)
    classified: bool

    def predict(self, x: np.ndarray) -> np.ndarray:
        logits = x.astype(np.float64) @ self.weight + self.bias
        if not self.classified:
            return logits
        shares = np.exp(logits - logits.max(1, keepdims=True))
        return shares / shares.sum(1, keepdims=True)

    def to_onnx(self, x: str) -> Graph:
        scope = Scope()
        weight, bias = (scope.const(a.astype(np.float32)) for a in (self.weight, self.bias))
        out = scope.add("Gemm", x, weight, bias)
        return scope.graph(scope.add("Softmax", out, axis=1) if self.classified else out)


CLASSES = ("low", "mid", "high")
TYPES = {
    "age": ColumnType.INTEGER,
    "income": ColumnType.NUMBER,
    "town": ColumnType.CATEGORY,
    "since": ColumnType.DATETIME,
}


def people(n: int, seed: int = 0) -> tuple[Table, np.ndarray]:
    """A mixed table and a number to predict, or its terciles as classes 0, 1, 2."""
    rng = np.random.default_rng(seed)
    age, income = rng.integers(18, 90, n).astype(float), rng.lognormal(3, 1, n)
    town = rng.integers(0, 6, n)
    signal = 0.03 * age + np.log(income) + 0.3 * town + 0.3 * rng.normal(size=n)
    income[rng.random(n) < 0.1] = np.nan
    words = np.array(["Aa", "Bb", "Cc", "Dd", "Ée", ""], object)[town]
    since = [f"{rng.integers(1990, 2024)}-{rng.integers(1, 13):02}-{rng.integers(1, 28):02} 00:00:00" for _ in range(n)]
    columns = {"age": age, "income": income, "town": Words.of(words), "since": Words.of(since)}
    return Table(columns, TYPES), signal


def terciles(signal: np.ndarray) -> np.ndarray:
    return np.digitize(signal, np.quantile(signal, [1 / 3, 2 / 3])).astype(np.int64)


def classifiers(table: Table, codes: np.ndarray, recipe: Recipe, folds: int = 3, c: float = 1.0) -> list[FoldModel]:
    """One logistic regression per fold."""
    from sklearn.linear_model import LogisticRegression

    found = []
    for i in range(folds):
        rows = np.flatnonzero(np.arange(len(table)) % folds != i) if folds > 1 else np.arange(len(table))
        preparation, x = fit(recipe, table.take(rows), codes[rows], Target("multiclass", 3), seed=i)
        model = LogisticRegression(C=c, max_iter=2000, tol=1e-3).fit(x, codes[rows])
        found.append(FoldModel(preparation, Linear(model.coef_.T, model.intercept_, True)))
    return found


def regressors(table: Table, signal: np.ndarray, recipe: Recipe, folds: int = 2) -> list[FoldModel]:
    """One ridge regression per fold, on a scaled target."""
    from sklearn.linear_model import Ridge

    found = []
    for i in range(folds):
        rows = np.flatnonzero(np.arange(len(table)) % folds != i)
        y = signal[rows]
        scaled = (y - y.mean()) / y.std()
        preparation, x = fit(recipe, table.take(rows), scaled, Target("regression"), seed=i)
        model = Ridge().fit(x, scaled)
        linear = Linear(model.coef_[:, None], np.array([model.intercept_]), False)
        found.append(FoldModel(preparation, linear, float(y.mean()), float(y.std())))
    return found
