"""Fit `clustering_quality` or the odds again: python -m benchmarks.clustering_criterion quality|odds OUT.json [ROUNDS].

Every family's partitions of generated shapes, with their true adjusted Rand index, train boosted trees over the criteria of
`assay.clustering.evidence`.  Prints how far the pick stays behind the best partition on shapes left out of the fit (odds: the
index of what is delivered without and with them), and writes the trees as `assay/clustering/quality.json` and `odds.json` hold
them.  `odds.json` is of 12 rounds, 364 sets; they take 20 minutes of a core.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from assay.clustering.agreement import BELIEF, agreed
from assay.clustering.assign import Assigner
from assay.clustering.criteria import adjusted_rand
from assay.clustering.evidence import FEATURES, vector
from assay.clustering.family import Scan
from assay.clustering.judge import Judge
from assay.clustering.quality import ANY_NOISE, NOISE_COST
from assay.families import for_task
from assay.testing.context import ToyContext
from benchmarks.clustering_shapes import SHAPES
from benchmarks.clustering_tables import TABLES

NUMBERS = (2, 3, 4, 5, 6, 7, 8, 10, 13, 17, 22, 29)
TRIED = (
    ("kmeans", {}), ("gaussian_mixture", {}), ("gaussian_mixture", {"covariance": "tied"}), ("agglomerative", {}),
    ("agglomerative", {"linkage": "average"}), ("agglomerative", {"linkage": "single"}), ("spectral", {}), ("dbscan", {}),
    ("hdbscan", {}), ("hdbscan", {"min_samples": 10, "noise": "nearest"}),
)  # fmt: skip
SHAPES_EVERY = 3  # rounds, for a kind of shape; kinds of tables are drawn in every round
MOST_ROWS = (220, 420)  # of a drawn set, at random within
MORE_ROWS, MORE_FROM = (420, 1000), 8  # of sets of this round and later ones
GROUPS = 6
SHARED: dict[str, Any] = {
    "learning_rate": 0.07, "min_child_samples": 25, "colsample_bytree": 0.5, "subsample": 0.7, "subsample_freq": 1,
    "reg_lambda": 5.0, "random_state": 0, "n_jobs": 1, "verbose": -1, "n_estimators": 200,
}  # fmt: skip
LEAVES = 8
GROWING = {f for f in FEATURES if f.startswith(("silhouette", "density_silhouette", "agree"))} | {
    "purity", "modularity", "gauss_gap", "gap_break", "silhouette_gap", "density_gap", "variance_gap", "likelihood_gap",
}  # fmt: skip


SHARPNESS = 0.03  # of the index: what is so much behind the best of its set is e times less to be chosen
ODDS: dict[str, Any] = {
    "learning_rate": 0.1, "num_leaves": 8, "min_child_samples": 20, "colsample_bytree": 0.4, "subsample": 0.7, "subsample_freq": 1,
    "reg_lambda": 5.0, "num_threads": 1, "verbose": -1,
}  # fmt: skip
ODDS_ROUNDS, ODDS_FITS = 200, 3

Set = tuple[np.ndarray, np.ndarray, np.ndarray]  # criteria (p, features), true index (p,), clusters (p, rows)


class Collect(Scan):
    """Takes every candidate's clusters of the judged rows."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x
        self.found: list[np.ndarray] = []

    def offer(self, candidate: Assigner, **setting: Any) -> float:
        self.found.append(candidate.predict(self.x)[:, 0].astype(np.int64))
        return 0.0

    def in_time(self) -> bool:
        return True

    def numbers(self, config: Any, n: int) -> Iterator[tuple[int, list[float]]]:
        yield from ((k, []) for k in NUMBERS if k <= n // 4)


def partitions(x: np.ndarray, y: np.ndarray, standard: bool) -> Set:
    """All different partitions of a set, its columns brought to one size or not."""
    spread = x.std(0) if standard else np.sqrt(((x - x.mean(0)) ** 2).mean())
    z = ((x - x.mean(0)) / spread).astype(np.float32)
    judge, families = Judge.of(z), for_task("clustering")
    seen: dict[bytes, np.ndarray] = {}
    for name, changes in TRIED:
        collect = Collect(z[judge.rows])
        families[name].search(families[name].Config(**changes), z, collect, ToyContext())  # type: ignore[attr-defined]
        seen |= {c.tobytes(): c for c in collect.found if len(np.unique(c[c >= 0])) >= 2}
    codes = list(seen.values())
    return (
        np.stack([vector(judge.evidence.of(c)) for c in codes]),
        np.array([adjusted_rand(y[judge.rows], c) for c in codes]),
        np.stack(codes),
    )


def fitted(data: list[Set]) -> list[Any]:
    """Two forests whose mean is the estimate: small free trees, and trees monotone in what should only help."""
    from lightgbm import LGBMRegressor

    x, y = np.concatenate([d[0] for d in data]), np.concatenate([d[1] for d in data])
    weight = np.concatenate([np.full(len(d[1]), 1.0 / len(d[1])) for d in data])
    free = ("silhouette_worst", "agree_stable")
    signs = [1 if f in GROWING and f not in free else -1 if f == "noise" else 0 for f in FEATURES]
    kinds: tuple[dict[str, Any], ...] = ({"num_leaves": LEAVES, "monotone_constraints": signs}, {"num_leaves": LEAVES})
    fits = [LGBMRegressor(**SHARED, **kind).fit(x, y, sample_weight=weight / weight.mean()) for kind in kinds]
    return [model.booster_ for model in fits]


def fitted_odds(data: list[Set]) -> list[Any]:
    """Forests whose mean is the logarithm of how likely a partition is the best of its set, all sets of equal weight.

    The loss is ListNet's (Cao et al., "Learning to Rank: From Pairwise Approach to Listwise Approach", ICML 2007): the cross
    entropy between softmax of the answers in a set and that of the true index over SHARPNESS.
    """
    import lightgbm

    x, y = np.concatenate([d[0] for d in data]), np.concatenate([d[1] for d in data])
    sizes = [len(d[1]) for d in data]
    start, own = np.cumsum([0, *sizes[:-1]]), np.repeat(np.arange(len(sizes)), sizes)

    def softmax(values: np.ndarray) -> np.ndarray:
        likely = np.exp(values - np.maximum.reduceat(values, start)[own])
        return np.asarray(likely / np.add.reduceat(likely, start)[own])

    wanted = softmax(y / SHARPNESS)

    def loss(answers: np.ndarray, _: Any) -> tuple[np.ndarray, np.ndarray]:
        likely = softmax(answers)
        return 30 * (likely - wanted), 30 * (likely * (1 - likely) + 1e-3)  # 30: against reg_lambda

    return [
        lightgbm.train({**ODDS, "objective": loss, "seed": seed}, lightgbm.Dataset(x, np.zeros(len(x))), ODDS_ROUNDS)
        for seed in range(ODDS_FITS)
    ]


def regrets(data: list[Set], kinds: np.ndarray) -> np.ndarray:
    """Best index less that of the pick, for every shape, by trees that never saw a shape of its kind."""
    group = grouped(kinds)
    lost = np.zeros(len(data))
    for g in range(GROUPS):
        models = fitted([d for d, own in zip(data, group, strict=True) if own != g])
        for i in np.flatnonzero(group == g):
            x, y, _ = data[i]
            lost[i] = y.max() - y[np.mean([m.predict(x) for m in models], axis=0).argmax()]
    return lost


def delivered(data: list[Set], kinds: np.ndarray) -> np.ndarray:
    """Index of what is delivered of every set without and with the odds, (sets, 2), by trees that never saw its kind."""
    group, noise = grouped(kinds), FEATURES.index("noise")
    got = np.zeros((len(data), 2))
    for g in range(GROUPS):
        rest = [d for d, own in zip(data, group, strict=True) if own != g]
        quality, odds = fitted(rest), fitted_odds(rest)
        for i in np.flatnonzero(group == g):
            x, y, codes = data[i]
            cost = NOISE_COST * x[:, noise] + ANY_NOISE * (x[:, noise] > 0)
            own = np.mean([m.predict(x) for m in quality], axis=0) - cost
            for j, said in enumerate((own / BELIEF, np.mean([m.predict(x) for m in odds], axis=0))):
                got[i, j] = y[agreed(own, said, list(codes), range(len(y)), 0).argmax()]
    return got


def grouped(kinds: np.ndarray) -> np.ndarray:
    """The group each set is left out with; all sets of a kind have one."""
    return np.asarray(np.random.default_rng(0).permutation(kinds.max() + 1)[kinds] % GROUPS)


def plain(model: Any, share: float) -> list[dict[str, Any]]:
    """LightGBM's trees as arrays; leaves times `share`."""
    trees = []
    for told in model.dump_model()["tree_info"]:
        tree: dict[str, Any] = {"feature": [], "threshold": [], "left": [], "right": [], "value": []}

        def add(node: Any, tree: dict[str, Any] = tree) -> int:
            at = len(tree["feature"])
            leaf = "split_feature" not in node
            tree["feature"].append(-1 if leaf else node["split_feature"])
            tree["threshold"].append(0.0 if leaf else float(f"{node['threshold']:.7g}"))
            tree["value"].append(round(node["leaf_value"] * share, 6) if leaf else 0.0)
            tree["left"].append(0)
            tree["right"].append(0)
            if not leaf:
                tree["left"][at] = add(node["left_child"], tree)
                tree["right"][at] = add(node["right_child"], tree)
            return at

        add(told["tree_structure"])
        trees.append(tree)
    return trees


def drawn(rounds: int) -> Iterator[tuple[int, str, np.ndarray, np.ndarray, bool]]:
    """Number and name of the kind, rows, truth, and whether columns are brought to one size."""
    for r in range(rounds):
        for i, (name, shape) in enumerate({**SHAPES, **TABLES}.items()):
            if name in SHAPES and r % SHAPES_EVERY:
                continue
            rng = np.random.default_rng([r, i])
            x, y = shape(rng)
            most = int(rng.integers(*(MOST_ROWS if r < MORE_FROM else MORE_ROWS)))
            if len(x) > most:
                rows = rng.choice(len(x), most, replace=False)
                x, y = x[rows], y[rows]
            alike = x.std(0).max() <= 10 * x.std(0).min()
            yield i, name, x, y, not alike or r % 2 == 1


def main(what: str, out: str, rounds: int = 0) -> None:
    data, kinds = [], []
    for i, name, x, y, standard in drawn(rounds or {"quality": 4, "odds": 12}[what]):
        data.append(partitions(x, y, standard))
        kinds.append(i)
        print(f"{name}: {len(data[-1][1])} partitions, best {data[-1][1].max():.3f}", flush=True)
    if what == "quality":
        lost = regrets(data, np.array(kinds))
        print(
            f"behind the best partition on unseen kinds of sets: mean {lost.mean():.3f}, median {np.median(lost):.3f}"
        )
    else:
        got = delivered(data, np.array(kinds))
        more = got[:, 1] - got[:, 0]
        means = " and ".join(f"{v:.4f}" for v in got.mean(0))
        print(
            f"delivered of unseen kinds: {means}, difference {more.mean():.4f} +- {more.std() / len(more) ** 0.5:.4f}"
        )
    models = fitted(data) if what == "quality" else fitted_odds(data)
    trees = [t for model in models for t in plain(model, 1 / len(models))]
    Path(out).write_text(json.dumps({"features": list(FEATURES), "trees": trees}, separators=(",", ":")))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:4]))
