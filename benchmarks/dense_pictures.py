"""Detectors and segmenters at a budget of seconds of one core, against the simplest honest peers, on one split.

`python -m benchmarks.dense_pictures --seconds 45 raccoon.zip potholes.zip` (archives of boxes or masks; without one it draws
shapes).  Every family trains its default configuration on the training pictures and is judged on the hold-out part, which no
family stops early on but all report to.  The clock is the processor's (`time.process_time`), so a busy machine changes little.
Peers: for masks the posterior of a pixel's colour (of every one of 512 colours by a joint histogram, and by naive Bayes over 32
levels of each channel; with the classes as often as they are, and as if they were equally often), a plain U-Net and one class
for all; for boxes the nets from random weights.  Writes one dated file under benchmarks/results/.
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

BINS, CHANNEL_BINS = 8, 32  # of each colour channel, in the joint histogram and in one of its own


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
        peers = {
            f"{what}, {'equal' if equal else 'their'} shares": by_colour(data, joint, equal)
            for what, joint in (("colour histogram", True), ("naive Bayes of colours", False))
            for equal in (False, True)
        }
        for peer, masks in {**peers, "one class": [np.zeros_like(m) for m in data.y_valid]}.items():
            told = all_values(problem.resolved.kind, list(data.y_valid), masks)  # type: ignore[arg-type]
            found.append({"family": peer, **told})
            print(json.dumps({"data": name, "task": task, **found[-1]}), flush=True)
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


def by_colour(data: Split, joint: bool, equal: bool) -> list[np.ndarray]:
    """The most probable class of every pixel, given its colour alone.

    joint: one histogram of whole colours, else one of each channel, multiplied.  equal: all classes count as equally often.
    """
    k = data.target.n_classes
    bins = BINS if joint else CHANNEL_BINS
    weights = np.array([[bins * bins, bins, 1]]) if joint else np.eye(3, dtype=np.int64)

    def codes(x: np.ndarray) -> np.ndarray:
        """(..., histograms)"""
        return np.asarray(x.astype(np.int64) * bins // 256 @ weights.T)

    known = data.y.ravel() < k
    seen, y = codes(data.x).reshape(-1, len(weights))[known], data.y.ravel()[known]
    told = [np.zeros((bins**3 if joint else bins, k)) for _ in weights]
    for h, votes in enumerate(told):
        np.add.at(votes, (seen[:, h], y), 1.0)
    often = np.bincount(y, minlength=k) + 1.0
    logs = [np.log(votes + 1.0 / len(votes)) - np.log(often) for votes in told]
    prior = np.zeros(k) if equal else np.log(often / often.sum())
    return [
        (prior + sum(log[c[..., h]] for h, log in enumerate(logs))).argmax(-1).astype(np.uint8)
        for c in map(codes, data.x_valid)
    ]


if __name__ == "__main__":
    main()
