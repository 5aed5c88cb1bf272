"""Families of rows one by one, by a judge of its own: `python -m benchmarks.generation_families name=file.csv:target …`.

Without files it uses three tables of scikit-learn.  Seven tenths of the rows (seed 1) are learned from by each family's
default configuration, with the target told anew and without; as many rows are drawn.  The judge shares no code with
`assay.metrics.generation`: LightGBM and a random forest tell drawn rows from the other three tenths (area under the ROC
curve, four folds; 0.5 is the best), LightGBM learns the target from drawn rows and from real ones, and a drawn row within a
tenth of the median distance from held-out to learned rows counts as a copy.  The peer is scikit-learn's GaussianMixture.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np

from assay.data.table import Table, Words
from assay.families import for_task
from assay.generation.columns import fit_rows
from assay.generation.compose import compose_rows, session
from assay.generation.draw import draw
from assay.generation.judge import table_of
from assay.generation.parts import Rows
from assay.generation.peer import mixture
from assay.generation.retell import fit_retelling
from assay.testing.context import ToyContext
from benchmarks.generation import breast_cancer, named

MOST = 6000  # rows of a table that are used
TOLD = 2000  # rows of each side that are told apart
FAMILIES = ("neighbour_rows", "sequential_trees", "sequential_boosting", "gaussian_mixture_rows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="*", help="name=path.csv:target")
    parser.add_argument("--families", default=",".join(FAMILIES))
    given = parser.parse_args()
    for name, table, target in [named(d) for d in given.data] or _bundled():
        rows = np.random.default_rng(1).permutation(len(table))[:MOST]
        held, train = table.take(rows[: 3 * len(rows) // 10]), table.take(rows[3 * len(rows) // 10 :])
        coder = fit_rows(train, target)
        peer = table_of(mixture(train), coder)
        print(
            json.dumps({"table": name, "rows": len(rows), "who": "GaussianMixture", **judge(train, held, peer, target)})
        )
        retelling = fit_retelling(coder, train)
        data = Rows(coder.layout, coder.encode(train), coder.encode(held.take(np.arange(min(50, len(held))))))
        for family in given.families.split(","):
            made_by: Any = for_task("generation")[family]
            began = time.monotonic()
            generator = made_by.fit(made_by.Config(), data, ToyContext())
            took = time.monotonic() - began
            for told_anew in (None, retelling):
                composed = compose_rows(coder, generator, told_anew)
                samples = draw(session(composed.encoded()), composed.spec, len(train), 5, {})
                values = judge(train, held, table_of(samples, coder), target)
                who = family + (" + target told anew" if told_anew else "")
                print(json.dumps({"table": name, "who": who, **values, "seconds": round(took, 1)}), flush=True)


def judge(train: Table, held: Table, made: Table, target: str) -> dict[str, Any]:
    """told: areas by LightGBM and by a random forest.  tstr: share of the score that real rows give."""
    a, b, c = (_cells(t, train) for t in (train, held, made))
    at = train.names.index(target)
    classes = isinstance(train.columns[target], Words) or len(np.unique(a[:, at])) <= 10
    real, drawn = (_learned(x, b, at, classes) for x in (a, c[: len(a)]))
    near, chance = (_nearest(_embedded(x, train, a), _embedded(a, train, a)) for x in (c[:TOLD], b[:TOLD]))
    limit = 0.1 * float(np.median(chance)) + 1e-9
    return {
        "told": [round(v, 3) for v in _told(b, c)], "real": round(real, 3), "tstr": round(drawn / real, 3),
        "copies": round(float((near <= limit).mean()), 4), "copies_by_chance": round(float((chance <= limit).mean()), 4),
    }  # fmt: skip


def _told(held: np.ndarray, made: np.ndarray) -> list[float]:
    from lightgbm import LGBMClassifier
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    n = min(len(held), len(made), TOLD)
    x, y = np.nan_to_num(np.concatenate([held[:n], made[:n]]), nan=-999.0), np.repeat([0, 1], n)
    models = (
        LGBMClassifier(n_estimators=100, num_leaves=15, n_jobs=1, verbose=-1, random_state=1),
        RandomForestClassifier(100, min_samples_leaf=2, n_jobs=1, random_state=1),
    )
    folds = StratifiedKFold(4, shuffle=True, random_state=1)
    found = [cross_val_predict(m, x, y, cv=folds, method="predict_proba")[:, 1] for m in models]
    return [max(0.5, float(roc_auc_score(y, p))) for p in found]


def _learned(rows: np.ndarray, held: np.ndarray, at: int, classes: bool) -> float:
    """Area under the ROC curve (mean of one against the rest), or r2, on held-out rows."""
    from lightgbm import LGBMClassifier, LGBMRegressor
    from sklearn.metrics import r2_score, roc_auc_score

    rows, held = rows[np.isfinite(rows[:, at])], held[np.isfinite(held[:, at])]
    x, y, new, truth = np.delete(rows, at, 1), rows[:, at], np.delete(held, at, 1), held[:, at]
    options: dict[str, Any] = {
        "learning_rate": 0.08,
        "num_leaves": 15,
        "min_child_samples": 10,
        "n_jobs": 1,
        "verbose": -1,
    }
    if not classes:
        return float(r2_score(truth, LGBMRegressor(**options).fit(x, y).predict(new)))
    model = LGBMClassifier(**options).fit(x, y.astype(int))
    share, known = np.asarray(model.predict_proba(new)), [int(c) for c in model.classes_]
    areas = [
        roc_auc_score(truth == c, share[:, known.index(int(c))] if int(c) in known else np.zeros(len(truth)))
        for c in np.unique(truth)
    ]
    return float(np.mean(areas))


def _cells(table: Table, train: Table) -> np.ndarray:
    """Numbers, and the places of words among the sorted words of the training rows; NaN is missing."""
    found = []
    for name in train.names:
        learned = train.columns[name]
        if not isinstance(learned, Words):
            found.append(table.numbers(name).astype(np.float64))
            continue
        place = {str(w): float(i) for i, w in enumerate(sorted(map(str, learned.levels)))}
        held = table.columns[name]
        assert isinstance(held, Words)
        found.append(np.array([*(place.get(str(w), -2.0) for w in held.levels), np.nan])[held.codes])
    return np.stack(found, 1)


def _embedded(x: np.ndarray, train: Table, learned: np.ndarray) -> np.ndarray:
    """Standardised numbers within six deviations, words as corners."""
    blocks = []
    for j, name in enumerate(train.names):
        if isinstance(train.columns[name], Words):
            blocks.append(0.7 * (x[:, j : j + 1] == np.unique(learned[:, j])[None]))
        else:
            z = (x[:, j] - np.nanmean(learned[:, j])) / (np.nanstd(learned[:, j]) or 1.0)
            blocks.append(np.nan_to_num(np.clip(z, -6, 6))[:, None])
    return np.concatenate(blocks, 1)


def _nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    from sklearn.neighbors import NearestNeighbors

    return np.asarray(NearestNeighbors(n_neighbors=1).fit(others).kneighbors(points)[0][:, 0])


def _bundled() -> list[tuple[str, Table, str]]:
    from sklearn.datasets import load_diabetes, load_wine

    from assay.data.table import ColumnType

    found = [("breast_cancer", breast_cancer(), "diagnosis")]
    for name, load in (("wine", load_wine), ("diabetes", load_diabetes)):
        data = load()
        columns: dict[str, Any] = {str(c): data.data[:, j] for j, c in enumerate(data.feature_names)}
        kinds = dict.fromkeys(columns, ColumnType.NUMBER)
        columns["target"] = (
            data.target.astype(float) if name == "diabetes" else Words.of([f"w{c}" for c in data.target])
        )
        found.append((name, Table(columns, {**kinds, "target": _kind(columns["target"])}), "target"))
    return found


def _kind(column: Any) -> Any:
    from assay.data.table import ColumnType

    return ColumnType.CATEGORY if isinstance(column, Words) else ColumnType.NUMBER


if __name__ == "__main__":
    main()
