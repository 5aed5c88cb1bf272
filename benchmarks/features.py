"""What prepared columns bring to boosted trees: the default configuration with and without, on rows nobody chose by.

    python -m benchmarks.features FOLDER_OF_CSV [--seeds 3] [--sets name,name] [--rows 6000] [--out results.json]

FOLDER_OF_CSV has a `manifest.json` with `name`, `path`, `target`, `task` and `drop` of every table.  For every table and
seed a third of the rows is held out; the default LightGBM and CatBoost are trained on five folds of the rest: plain and with
`derived` (case derived), plain and with `select` (case select), and the latter with 100 columns of noise added (case noise).  What is printed is the loss on the held-out rows
(log-loss, or root mean squared error in deviations) relative to plain, and the seconds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from assay.data.profile import profile
from assay.data.readers import read
from assay.data.table import ColumnType, Table
from assay.families import discover
from assay.metrics import METRICS
from assay.model import checkpoint
from assay.spec import JobSpec, resolve
from assay.tasks import discover as tasks
from assay.training.evaluate import Matrices, Request

VARIANTS: dict[str, dict[str, Any]] = {"plain": {}, "derived": {"derived": True}, "select": {"select": True}}
NOISE = 100


def noisy(table: Table, seed: int) -> Table:
    rng = np.random.default_rng([seed, 99])
    more = {f"noise {i}": rng.normal(size=len(table)) for i in range(NOISE)}
    types = {name: ColumnType.NUMBER for name in more}
    return Table({**table.columns, **more}, {**table.types, **types})


def measure(table: Table, task: str, target: str, drop: list[str], seed: int, family: str, variant: str) -> list[float]:
    """(loss on held-out rows, seconds)."""
    spec = JobSpec.from_json(
        {
            "task": {"type": task, "target": target, "ignore_columns": drop},
            "objective": {"metric": "rmse" if task == "regression" else "log_loss"},
            "validation": {"folds": 5, "test_fraction": 1 / 3, "seed": seed, "refit": False},
        }
    )
    resolved = resolve(spec, profile(table, target))
    problem = tasks()[task].prepare(table, resolved)
    problem = replace(problem, gate=problem.gate.take(np.arange(50)))
    found = discover()[family]
    config = {**asdict(found.Config()), **VARIANTS[variant]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c"
        began = time.monotonic()
        tasks()[task].evaluate(Matrices(problem), Request(found, config, 0, path))
        seconds = time.monotonic() - began
        p = checkpoint.load(path).array("test").astype(np.float64)
    y = problem.y[problem.folds.test]
    loss = METRICS[resolved.metric].value(y, p)
    return [loss / (float(np.std(problem.y)) if task == "regression" else 1.0), seconds]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets")
    parser.add_argument("--families", default="lightgbm,catboost")
    parser.add_argument("--cases", default="derived,noise")
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    known = json.loads((arguments.folder / "manifest.json").read_text())
    entries = known if isinstance(known, list) else list(known.values())
    wanted = arguments.sets.split(",") if arguments.sets else None
    results: list[dict[str, Any]] = []
    for entry in entries:
        if entry.get("task") not in ("binary", "multiclass", "regression"):
            continue
        if wanted is not None and entry["name"] not in wanted:
            continue
        loaded = read(arguments.folder / entry["path"]).table
        task = "regression" if entry["task"] == "regression" else "classification"
        for seed in range(arguments.seeds):
            rows = np.random.default_rng([seed, 7]).permutation(len(loaded))[: arguments.rows]
            table = loaded.take(np.sort(rows))
            for case in arguments.cases.split(","):
                names = ("plain", "derived" if case == "derived" else "select")
                data = noisy(table, seed) if case == "noise" else table
                for family in arguments.families.split(","):
                    for name in names:
                        loss, seconds = measure(
                            data, task, entry["target"], entry.get("drop") or [], seed, family, name
                        )
                        row = {"set": entry["name"], "seed": seed, "case": case, "family": family, "variant": name}
                        results.append({**row, "loss": loss, "seconds": seconds})
                        print(json.dumps(results[-1]), flush=True)
                        if arguments.out:
                            arguments.out.write_text(json.dumps(results))


if __name__ == "__main__":
    main()
