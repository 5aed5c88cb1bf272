"""Accuracy on whole series beside ROCKET with ridge, MiniRocket, and the nearest neighbour, on the archive's own test part.

    python -m benchmarks.sequences FOLDER --export            # with aeon: the sets that it carries, as csv files
    python -m benchmarks.sequences FOLDER --out rows.json --peers
    python -m benchmarks.sequences FOLDER --out rows.json [--seconds 60 | --trials 6]

aeon may live in an environment of its own (`pip install aeon`): run the first two there and the last one here, with the
same --out, which the last run prints as a table.  Assay goes through REST with every default when it is limited by
seconds.  Series of one channel are rows; those of several are in long form, `series` and `step`.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

NAMES = (
    "ACSF1", "ArrowHead", "BasicMotions", "GunPoint", "ItalyPowerDemand", "JapaneseVowels", "OSULeaf",
    "PickupGestureWiimoteZ", "UnitTest",
)  # fmt: skip
PEERS = ("rocket", "minirocket", "euclid", "dtw")
TARGET, GROUP, STEP = "label", "series", "step"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="of sets; nothing: all that lie in the folder")
    parser.add_argument("--out", type=Path, default=Path("sequences.json"))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--trials", type=int, default=None, help="in this process, instead of seconds through REST")
    parser.add_argument("--export", action="store_true")
    parser.add_argument("--peers", action="store_true")
    asked = parser.parse_args()
    if asked.export:
        export(asked.folder, asked.names or NAMES)
        return
    names = asked.names or sorted(p.name.removesuffix("_train.csv") for p in asked.folder.glob("*_train.csv"))
    found: dict[str, Any] = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    for name in names:
        one = found.setdefault(name, {})
        if asked.peers:
            one |= peers(asked.folder, name)
        else:
            one |= ours(asked.folder, name, asked.seconds, asked.trials)
        print(name, one, flush=True)
        asked.out.write_text(json.dumps(found, indent=1))
    print(table(found))


def export(folder: Path, names: Any) -> None:
    """The sets that aeon's wheel carries, labels as words."""
    import aeon  # type: ignore[import-not-found]
    from aeon.datasets import load_from_ts_file  # type: ignore[import-not-found]

    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        for part in ("train", "test"):
            x, y = load_from_ts_file(str(Path(aeon.__file__).parent / f"datasets/data/{name}/{name}_{part.upper()}.ts"))
            wide = isinstance(x, np.ndarray) and x.shape[1] == 1
            with (folder / f"{name}_{part}.csv").open("w", newline="", encoding="utf-8") as file:
                out = csv.writer(file)
                if wide:
                    out.writerow([*(f"t{i}" for i in range(x.shape[2])), TARGET])
                    out.writerows([*map(repr, map(float, s[0])), f"c{label}"] for s, label in zip(x, y, strict=True))
                else:
                    out.writerow([GROUP, STEP, *(f"ch{i}" for i in range(len(x[0]))), TARGET])
                    for i, (s, label) in enumerate(zip(x, y, strict=True)):
                        out.writerows([f"s{i}", t, *map(repr, map(float, v)), f"c{label}"] for t, v in enumerate(s.T))


def read(folder: Path, name: str, part: str) -> tuple[list[np.ndarray], list[str]]:
    """Series (channels, steps) and their labels."""
    with (folder / f"{name}_{part}.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if GROUP not in rows[0]:
        steps = [c for c in rows[0] if c != TARGET]
        return [np.array([[float(r[c]) for c in steps]]) for r in rows], [r[TARGET] for r in rows]
    channels = [c for c in rows[0] if c not in (GROUP, STEP, TARGET)]
    series: dict[str, list[list[float]]] = {}
    labels: dict[str, str] = {}
    for r in rows:
        series.setdefault(r[GROUP], []).append([float(r[c]) for c in channels])
        labels[r[GROUP]] = r[TARGET]
    return [np.array(s).T for s in series.values()], [labels[g] for g in series]


def peers(folder: Path, name: str) -> dict[str, float]:
    """ROCKET and MiniRocket with their usual ridge, the nearest neighbour by Euclid and by DTW (a tenth of the length)."""
    from aeon.classification.convolution_based import (  # type: ignore[import-not-found]
        MiniRocketClassifier,
        RocketClassifier,
    )
    from aeon.classification.distance_based import KNeighborsTimeSeriesClassifier  # type: ignore[import-not-found]

    (x, y), (x_test, y_test) = read(folder, name, "train"), read(folder, name, "test")
    length = max(s.shape[1] for s in [*x, *x_test])
    held, held_test = (
        np.stack([np.pad(s, ((0, 0), (0, length - s.shape[1])), "edge") for s in part]) for part in (x, x_test)
    )
    models = {
        "rocket": RocketClassifier(random_state=0),
        "minirocket": MiniRocketClassifier(random_state=0),
        "euclid": KNeighborsTimeSeriesClassifier(distance="euclidean"),
        "dtw": KNeighborsTimeSeriesClassifier(distance="dtw", distance_params={"window": 0.1}),
    }
    found: dict[str, float] = {"series": len(y), "test": len(y_test), "length": length, "classes": len(set(y))}
    for who, model in models.items():
        began = time.monotonic()
        found[who] = float(np.mean(model.fit(held, np.array(y)).predict(held_test) == np.array(y_test)))
        found[f"seconds of {who}"] = round(time.monotonic() - began, 1)
    return found


def ours(folder: Path, name: str, seconds: float, trials: int | None) -> dict[str, Any]:
    import pandas as pd

    train, test = (pd.read_csv(folder / f"{name}_{part}.csv") for part in ("train", "test"))
    is_long = GROUP in train
    task: dict[str, Any] = {"group_column": GROUP, "time_column": STEP} if is_long else {}
    truth = (test.groupby(GROUP, sort=False)[TARGET].first() if is_long else test[TARGET]).tolist()
    rows = test.drop(columns=[TARGET])
    began = time.monotonic()
    if trials is not None:
        import assay

        model = assay.fit(train, TARGET, task="sequence_classification", trials=trials, **task)
        values, families = model.predict(rows), [f"{m.family} {m.weight:.2f}" for m in model.manifest.members]
    else:
        from benchmarks._rest import ask, service

        with service() as running:
            asked = {"type": "sequence_classification", "target": TARGET, **task}
            answered = ask(running, name, train, rows, asked, seconds, at_once=len(rows) if is_long else 2000)
        values, families = answered.values, answered.families
    return {
        "assay": float(np.mean([a == b for a, b in zip(values, truth, strict=True)])),
        "limit": f"{trials} trials" if trials is not None else f"{seconds:g} s",
        "seconds": round(time.monotonic() - began, 1),
        "members": families,
    }


def table(found: dict[str, Any]) -> str:
    """Accuracies, their mean, and how often Assay is at least as good."""
    names = ["assay", *PEERS]
    whole = {k: v for k, v in found.items() if all(n in v for n in names)}
    lines = [f"| data | series | test | length | classes | {' | '.join(names)} |", "|---|" + "---:|" * 9]
    for name, one in whole.items():
        facts = " | ".join(str(one[f]) for f in ("series", "test", "length", "classes"))
        lines.append(f"| {name} | {facts} | " + " | ".join(f"{one[n]:.4f}" for n in names) + " |")
    scores = np.array([[one[n] for n in names] for one in whole.values()])
    if len(scores):
        lines.append("| mean | | | | | " + " | ".join(f"{v:.4f}" for v in scores.mean(0)) + " |")
        wins = (scores[:, :1] >= scores).mean(0)
        lines.append("| Assay at least as good | | | | | | " + " | ".join(f"{v:.0%}" for v in wins[1:]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
