"""Joint learning against single-task twins of the same size: `python -m benchmarks.multitask name=file.csv:a,b[,c]`.

For each family with shared parameters, the joint net learns all targets; its twin is the same configuration (width,
depth, epochs, optimizer, seed) given one target at a time on the same rows and columns.  Both are judged on the same
quarter of the rows by each target's skill (1 - loss / loss of the best constant).  `--missing` blanks that share of the
training labels of the last target.  Without files it uses a generated table.  Writes one dated file under
benchmarks/results/.
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

from assay.data.table import Table
from assay.families import Split, discover
from assay.metrics.multitask import skills
from assay.multitask.targets import MultiTarget, Truth
from assay.spec import JobSpec, resolve
from assay.tasks.multitask import task
from assay.testing.context import ToyContext
from assay.testing.tasks import facts_of
from assay.testing.toy_multitask import toy_targets, with_targets

SHARE = 4  # one row in SHARE judges, one in SHARE of the rest stops training
FAMILIES = ("hard_sharing", "cross_stitch", "mmoe", "cofibi_multitask")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="*", help="name=path.csv:target,target")
    parser.add_argument("--families", nargs="*", default=list(FAMILIES))
    parser.add_argument("--rows", type=int, default=1000, help="of the generated table, and at most of a file")
    parser.add_argument(
        "--missing", type=float, default=0.8, help="share of the last target's training labels to blank"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    sets = [read(d, given.rows) for d in given.data] or [("generated", *generated(given.rows))]
    found = [row for name, table, targets in sets for row in compared(name, table, targets, given)]
    report = {
        "what": "joint nets against single-task twins of the same size, skill by target",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {"processor": platform.processor() or platform.machine(), "python": platform.python_version()},
        "missing": given.missing,
        "results": found,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"multitask-{datetime.date.today().isoformat()}.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}")


def read(spec: str, rows: int) -> tuple[str, Table, list[str]]:
    from assay.data.readers import read as read_file

    name, _, rest = spec.partition("=")
    path, _, targets = rest.rpartition(":")
    table = read_file(Path(path)).table
    if len(table) > rows:
        table = table.take(np.sort(np.random.default_rng(0).choice(len(table), rows, replace=False)))
    return name, table, targets.split(",")


def generated(rows: int) -> tuple[Table, list[str]]:
    features, truth = toy_targets(rows)
    return with_targets(features, truth), [t.name for t in truth.targets]


def compared(name: str, table: Table, targets: list[str], given: Any) -> list[dict[str, Any]]:
    """One row a family: skills of the joint net and of the twins on the judging rows, and what each took."""
    spec = JobSpec.from_json({"task": {"type": "multitask", "targets": targets}, "validation": {"test_fraction": 0.0}})
    problem = task.prepare(table, resolve(spec, facts_of(table)))
    assert isinstance(problem.y, Truth)
    order = np.random.default_rng(0).permutation(len(problem.y))
    judge, rest = np.split(order, [len(order) // SHARE])
    valid, train = np.split(rest, [len(rest) // SHARE])
    labels = Truth.of(np.array(problem.y), problem.y.targets)
    blanked = np.random.default_rng(1).random(len(labels)) < given.missing
    labels[np.isin(np.arange(len(labels)), rest) & blanked, -1] = np.nan
    rows = []
    for family in given.families:
        joint, seconds = skill_of(family, problem.features, labels, train, valid, judge)
        alone, taken = [], 0.0
        for i in range(len(targets)):
            found, took = skill_of(family, problem.features, labels.only(i), train, valid, judge)
            alone.append(found[0])
            taken += took
        row = {
            "data": name, "family": family, "rows": len(labels), "targets": targets, "joint": joint, "alone": alone,
            "joint_seconds": seconds, "alone_seconds": taken,
        }  # fmt: skip
        print({k: np.round(v, 4).tolist() if k in ("joint", "alone") else v for k, v in row.items()}, flush=True)
        rows.append(row)
    return rows


def skill_of(
    family: str, features: Table, labels: Truth, train: np.ndarray, valid: np.ndarray, judge: np.ndarray
) -> tuple[list[float], float]:
    """Skill by target on the judging rows, and CPU seconds of the fit."""
    known = discover()[family]
    config = known.Config()
    target = MultiTarget.of(labels.targets, "multitask_score")
    preparation, x = known.recipe(config).fit(features.take(train), labels[train], target, seed=0)
    x_valid = preparation.transform(features.take(valid))
    split = Split(x, labels[train], x_valid, labels[valid], target, groups=preparation.groups)
    began = time.process_time()
    predictor = known.fit(config, split, ToyContext(max_steps=known.steps(config)))
    took = time.process_time() - began
    answers = predictor.predict(preparation.transform(features.take(judge)))
    return skills(labels[judge], answers).tolist(), took  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
