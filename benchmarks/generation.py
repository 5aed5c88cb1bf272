"""Assay's generators against a Gaussian mixture and a Gaussian copula, on the same split: `python -m benchmarks.generation`.

Give `name=file.csv:target` for tables of your own; without any it uses the breast-cancer table and the digits of
scikit-learn.  A third of the rows is never shown to any generator.  The peers: scikit-learn's GaussianMixture over
standardised numbers and one-hot words (components by BIC), a Gaussian copula over ranks; for digits the mixture over
principal components.  All are judged by boosted trees on raw cells (or pixels), by train-on-synthetic-test-on-real, and by
the share of copies.  Writes one dated file under benchmarks/results/.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

import assay
from assay.data.readers import read
from assay.data.table import Blobs, ColumnType, Table, Words
from assay.generation.columns import fit_rows
from assay.generation.judge import RowJudge, table_of
from assay.generation.peer import mixture
from assay.metrics.generation import Made, Real, memorised, two_sample

SHARE = 1 / 3  # of the rows that judge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="*", help="name=path.csv:target")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--most", type=int, default=6000, help="rows of a table that are used")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    tables = [named(d) for d in given.data] or [("breast_cancer", breast_cancer(), "diagnosis")]
    found = []
    for name, table, target in tables:
        found.append(rows(name, _few(table, given.most), target, given.seconds, given.threads))
        print(json.dumps(found[-1]), flush=True)
    if not given.data:
        found.append(digits(given.seconds, given.threads))
        print(json.dumps(found[-1]), flush=True)
    report = {
        "what": "generation against a Gaussian mixture and a Gaussian copula; two_sample: 1 cannot be told, 0 always told",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {"processor": platform.processor() or platform.machine(), "python": platform.python_version()},
        "seconds": given.seconds,
        "results": found,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"generation-{datetime.date.today().isoformat()}.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}")


def rows(name: str, table: Table, target: str, seconds: float, threads: int) -> dict[str, Any]:
    """One table: our generator and both peers, judged on rows none has seen."""
    order = np.random.default_rng(0).permutation(len(table))
    held, train = table.take(order[: int(SHARE * len(table))]), table.take(order[int(SHARE * len(table)) :])
    began = time.monotonic()
    model = assay.fit(train, target, task="generation", seconds=seconds, threads=threads)
    used = [c["name"] for c in model.manifest.info["generation"]["columns"]]
    samples = model.generate(len(train), seed=1).columns
    took = time.monotonic() - began
    train, held = train.select(used), held.select(used)
    coder = fit_rows(train, target)
    judge = RowJudge(coder, train, held, target)
    values: dict[str, Any] = {"name": name, "rows": len(table), "seconds": round(took, 1)}
    values["family"] = model.manifest.members[0].family
    makers = {"assay": lambda: samples, "gaussian_mixture": lambda: mixture(train), "copula": lambda: copula(train)}
    for who, make in makers.items():
        made = judge.made(make(), float("nan"))
        values[who] = {
            "two_sample": round(two_sample(judge.real, made), 3),
            "memorised": round(memorised(judge.real, made), 4),
            "tstr": round(made.tstr, 3),
        }
    best = max(values["gaussian_mixture"]["two_sample"], 1e-3)
    values["ratio_to_gaussian_mixture"] = round(values["assay"]["two_sample"] / best, 2)
    assert len(table_of(samples, coder)) == len(train)
    return values


def copula(train: Table) -> dict[str, np.ndarray]:
    """Ranks made normal (ties in random order), one correlation matrix, and the data's own values at the drawn ranks."""
    from scipy.special import ndtr, ndtri

    rng = np.random.default_rng(0)
    n = len(train)
    values = {
        name: np.append(c.levels, "").astype(object)[c.codes] if isinstance(c, Words) else train.numbers(name)
        for name, c in train.columns.items()
    }
    keys = {n_: c.codes.astype(float) if isinstance(c, Words) else train.numbers(n_) for n_, c in train.columns.items()}
    orders = {name: np.lexsort((rng.random(n), np.nan_to_num(k, nan=-np.inf))) for name, k in keys.items()}
    z = np.stack([ndtri((np.argsort(o) + 0.5) / n) for o in orders.values()], 1)
    drawn = rng.multivariate_normal(np.zeros(z.shape[1]), np.atleast_2d(np.corrcoef(z.T)), n, method="eigh")
    ranks = np.clip((ndtr(drawn) * n).astype(int), 0, n - 1)
    return {name: values[name][orders[name]][ranks[:, j]] for j, name in enumerate(values)}


def digits(seconds: float, threads: int) -> dict[str, Any]:
    """The 8 x 8 digits as pictures, against a mixture over principal components; judged on raw pixels."""
    from sklearn.datasets import load_digits
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    held, train = order[: int(SHARE * len(x))], order[int(SHARE * len(x)) :]
    began = time.monotonic()
    model = assay.fit(picture_table(x[train], y[train]), task="generation", seconds=seconds, threads=threads)
    pictures = model.generate(512, seed=1).images
    assert pictures is not None
    took = time.monotonic() - began
    reduced = PCA(0.99, random_state=0).fit(x[train])
    inner = reduced.transform(x[train])
    fits = [GaussianMixture(k, reg_covar=1e-2, random_state=0).fit(inner) for k in (1, 4, 10, 20)]
    drawn = reduced.inverse_transform(min(fits, key=lambda m: m.bic(inner)).sample(512)[0])
    values: dict[str, Any] = {"name": "digits", "rows": len(x), "seconds": round(took, 1)}
    values["family"] = model.manifest.members[0].family
    real = Real(x[held], x[held], x[train])
    for who, made in (
        ("assay", pictures[..., 0].reshape(512, 64) * 16.0 / 255),
        ("gaussian_mixture", np.random.default_rng(0).permutation(np.clip(np.round(drawn), 0, 16))),
    ):
        told = Made(made, made)
        values[who] = {"two_sample": round(two_sample(real, told), 3), "memorised": round(memorised(real, told), 4)}
    best = max(values["gaussian_mixture"]["two_sample"], 1e-3)
    values["ratio_to_gaussian_mixture"] = round(values["assay"]["two_sample"] / best, 2)
    return values


def picture_table(x: np.ndarray, y: np.ndarray) -> Table:
    """Flat pictures of 0..16 as PNG files with their label."""
    import io

    from PIL import Image

    def png(flat: np.ndarray) -> bytes:
        out = io.BytesIO()
        side = round(len(flat) ** 0.5)
        Image.fromarray(np.round(flat.reshape(side, side) * 255 / 16).astype(np.uint8)).save(out, "PNG")
        return out.getvalue()

    columns = {
        "image": Blobs.of([png(a) for a in x]),
        "path": Words.of([f"{i}.png" for i in range(len(x))]),
        "label": Words.of([str(v) for v in y]),
    }
    return Table(columns, {"image": ColumnType.IMAGE, "path": ColumnType.ID, "label": ColumnType.CATEGORY})


def breast_cancer() -> Table:
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    columns: dict[str, Any] = {str(n): data.data[:, j].astype(float) for j, n in enumerate(data.feature_names)}
    columns["diagnosis"] = Words.of([str(data.target_names[c]) for c in data.target])
    return Table(
        columns, dict.fromkeys(data.feature_names.tolist(), ColumnType.NUMBER) | {"diagnosis": ColumnType.CATEGORY}
    )


def named(spec: str) -> tuple[str, Table, str]:
    name, _, rest = spec.partition("=")
    path, _, target = rest.rpartition(":")
    return name, read(Path(path)).table, target


def _few(table: Table, most: int) -> Table:
    return table.take(np.sort(np.random.default_rng(0).permutation(len(table))[:most]))


if __name__ == "__main__":
    main()
