"""MMD-Net and MT-DNN against their single-task twins: `python -m benchmarks.multitask_forms [name=file:target,target ...]`.

A family and its twins (`<family>_alone`) get the same rows, the same configuration (the defaults), seed and seconds; both
are judged target by target on the test part, which neither saw.  The twins share the seconds; with `--full` they also get
as many seconds for every target as the joint net has for all.  `--keep name=300` keeps that many training labels of a
target, drawn at random.  Without files it uses generated pictures and texts.  Writes rows as JSON to `--out`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from assay.data.profile import profile
from assay.data.table import Table, Words
from assay.families import discover, space_of
from assay.model import checkpoint
from assay.spec import JobSpec, resolve, with_parts
from assay.tasks._problem import Problem
from assay.tasks.multitask import form_of, task
from assay.testing.scenes import scenes_table
from assay.testing.toy_multitask_texts import pairs_table
from assay.training.evaluate import Matrices, Request

SHARE = 4  # one row in SHARE judges
FAMILIES = {"pictures": "mmd_net", "texts": "mt_dnn"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="*", help="name=path:target,target")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rows", type=int, default=1000, help="of a file at most")
    parser.add_argument("--keep", nargs="*", default=[], help="target=labels")
    parser.add_argument("--config", type=json.loads, default={}, help="JSON: other values than the defaults")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("multitask-forms.json"))
    given = parser.parse_args()
    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])  # the first one imports for seconds, which are nobody's
    keep = {k: int(v) for k, v in (e.split("=") for e in given.keep)}
    sets = [read(d, given.rows) for d in given.data] or [
        ("scenes", scenes_table(200), ["label", "mask", "weight"]),
        ("pairs", pairs_table(600), ["mood", "topic", "alike", "same"]),
    ]
    found = []
    for name, table, targets in sets:
        for seed in range(given.seeds):
            found += compared(name, table, targets, given, keep, seed)
            given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def read(spec: str, rows: int) -> tuple[str, Table, list[str]]:
    from assay.data.readers import read as read_file

    name, _, rest = spec.partition("=")
    path, _, targets = rest.rpartition(":")
    table = read_file(Path(path)).table
    if len(table) > rows:
        table = table.take(np.sort(np.random.default_rng(0).choice(len(table), rows, replace=False)))
    return name, table, targets.split(",")


def compared(
    name: str, table: Table, targets: list[str], given: Any, keep: dict[str, int], seed: int
) -> list[dict[str, Any]]:
    """A row for the joint net and one for its twins."""
    spec = JobSpec.from_json(
        {
            "task": {"type": "multitask", "targets": targets},
            "validation": {"method": "holdout", "folds": 4, "test_fraction": 0.0, "seed": seed},
        }
    )
    order = np.random.default_rng([seed, 3]).permutation(len(table))
    n_train = len(table) - len(table) // SHARE
    resolved = with_parts(resolve(spec, profile(table)), n_train, None, len(table) - n_train)
    problem = task.prepare(thinned(table.take(order), n_train, keep, seed), resolved)
    family = FAMILIES[form_of(resolved)]
    rows = [told(name, problem, family, given.seconds, seed, given.config)]
    rows.append(told(name, problem, f"{family}_alone", given.seconds, seed, given.config))
    if given.full:
        rows.append(told(name, problem, f"{family}_alone", given.seconds * len(targets), seed, given.config))
    return rows


def thinned(table: Table, n_train: int, keep: dict[str, int], seed: int) -> Table:
    """Only so many labels among the first rows."""
    columns = dict(table.columns)
    for name, n in keep.items():
        column = columns[name]
        blank = np.random.default_rng([seed, 5]).permutation(n_train)[n:]
        if isinstance(column, Words):
            codes = column.codes.copy()
            codes[blank] = -1
            columns[name] = Words(codes, column.levels)
        else:
            values = table.numbers(name).astype(np.float64)
            values[blank] = np.nan
            columns[name] = values
    return Table(columns, table.types)


def told(name: str, problem: Problem, family: str, seconds: float, seed: int, config: dict[str, Any]) -> dict[str, Any]:
    from assay.multitask.report import values
    from assay.multitask.targets import Truth

    known = discover()[family]
    space = space_of(known)
    names = {d.name for d in space}
    full = space.complete({**space.defaults(), **{k: v for k, v in config.items() if k in names}})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trial"
        found = task.evaluate(Matrices(problem), Request(known, full, seed, path, seconds=seconds))
        opened = checkpoint.load(path)
        if isinstance(problem.y, Truth):
            metrics = values(problem.y[problem.folds.test], opened.array("test").astype(np.float64), None)
        else:
            metrics = dict(opened.info["test_metrics"])
    shown = {k: round(v, 4) for k, v in metrics.items() if k.split(":")[-1] in ("skill", "accuracy", "mean_iou", "r2")}
    row = {
        "data": name,
        "family": family,
        "seed": seed,
        "seconds": seconds,
        "used": round(found.seconds, 1),
        "test": shown,
    }
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
