"""Detectors and segmenters at a budget of seconds of one core, against the simplest honest peers, on one split.

`python -m benchmarks.dense_pictures --seconds 45 raccoon.zip potholes.zip` (archives of boxes or masks; without one it draws
shapes).  Every family trains its default configuration on the training pictures and is judged on the hold-out part, which no
family stops early on but all report to.  The clock is the processor's (`time.process_time`), so a busy machine changes little.
Peers: for masks a colour histogram (the most frequent class of every one of 512 colours), a plain U-Net and one class for all;
for boxes the nets from random weights.  Writes one dated file under benchmarks/results/.
"""

from __future__ import annotations

import argparse
import datetime
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from assay.data.table import Table
from assay.families import Split, discover, space_of
from assay.metrics import all_values
from assay.space import build
from assay.testing.context import ToyContext

BINS = 8  # of each colour channel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="*", type=Path, help="archives with boxes or masks")
    parser.add_argument("--seconds", type=float, nargs="+", default=[45.0])
    parser.add_argument("--families", nargs="*", help="these alone")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    time.monotonic = time.process_time
    rows = []
    for name, table in tables(given.data):
        for task in ("object_detection", "segmentation"):
            if task == "object_detection" and "boxes" not in table.names:
                continue
            if task == "segmentation" and not outlined(table):
                continue
            for seconds in given.seconds:
                rows += one(name, table, task, seconds, given.families)
    day = datetime.date.today().isoformat()
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"dense-pictures-{day}.json"
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}")


def tables(paths: list[Path]) -> list[tuple[str, Table]]:
    from assay.data.readers import read
    from assay.testing.shapes import shapes_table

    return [(p.stem, read(p).table) for p in paths] or [("shapes", shapes_table(200))]


def outlined(table: Table) -> bool:
    """Whether it says where things end: masks, or polygons."""
    return "mask" in table.names or any("polygons" in (t or "") for t in table.words("boxes").values())


def one(name: str, table: Table, task: str, seconds: float, wanted: list[str] | None) -> list[dict[str, Any]]:
    from assay.data.front_image import Decoded
    from assay.data.profile import profile
    from assay.spec import JobSpec, resolve
    from assay.tasks import discover as tasks
    from assay.vision.evaluate import judged

    spec = JobSpec.from_json(
        {"task": {"type": task}, "validation": {"test_fraction": 0}, "limits": {"time_seconds": seconds}}
    )
    problem = tasks()[task].prepare(table, resolve(spec, profile(table)))
    train, valid = problem.folds.pairs[0]
    column = problem.features.columns["image"]
    assert isinstance(column, Decoded)
    data = Split(column.pixels[train], problem.y[train], column.pixels[valid], problem.y[valid], problem.target)
    found = []
    if task == "segmentation":
        for peer, masks in (
            ("colour histogram", by_colour(data)),
            ("one class", [np.zeros_like(m) for m in data.y_valid]),
        ):
            told = all_values(problem.resolved.kind, list(data.y_valid), masks)  # type: ignore[arg-type]
            found.append({"family": peer, **told})
    for family in (f for n, f in discover().items() if task in f.tasks and (not wanted or n in wanted)):
        if getattr(family, "missing", lambda: "")():
            continue
        began = time.process_time()
        config = build(family.Config, space_of(family).defaults())
        predictor = family.fit(config, data, ToyContext(seconds=seconds))
        spent = time.process_time() - began
        found.append({"family": family.name, **judged(problem, predictor, data.x_valid, valid), "seconds": spent})
        print(json.dumps({"data": name, "task": task, **found[-1]}), flush=True)
    facts = {"data": name, "task": task, "budget": seconds, "train": len(train), "valid": len(valid)}
    return [{**facts, "side": int(column.front.size), **row} for row in found]


def by_colour(data: Split) -> list[np.ndarray]:
    """The class that most training pixels of a colour have."""

    def code(x: np.ndarray) -> np.ndarray:
        q = x.astype(np.int64) * BINS // 256
        return np.asarray((q[..., 0] * BINS + q[..., 1]) * BINS + q[..., 2])

    votes = np.zeros((BINS**3, 256), np.int64)
    np.add.at(votes, (code(data.x).ravel(), data.y.ravel()), 1)
    most = votes[:, : data.target.n_classes].argmax(1).astype(np.uint8)
    return list(most[code(data.x_valid)])


if __name__ == "__main__":
    main()
