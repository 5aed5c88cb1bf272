"""Learn the order of the portfolio from many tables: `python -m benchmarks.portfolio measure … ` then `… order …`.

`measure name=file.csv:target …` trains every entry of `assay/search/portfolio.json` for tables (and of `--more`, a file of
the same form) on every table: 4 folds of three quarters of its rows, the rest judges.  Out-of-fold and test predictions and
the seconds of the processor go to `--work`, one file a pair; what is there is not measured again.

`order` walks greedily: next comes the entry that lowers the test loss of the greedy ensemble (chosen on out-of-fold
predictions, as in a job) most per second, on average over the tables.  It is checked by leaving one table out at a time: the
order learned from the others against the shipped order, both cut where the seconds of two cores end.  Writes the new order
and a report.

After Salinas, Erickson: TabRepo: A Large Scale Repository of Tabular Model Evaluations and its AutoML Applications.  AutoML
2024.  Changed: gain is counted per second, since a minute holds a dozen configurations only.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import sys
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from assay.data.profile import profile
from assay.data.readers import read
from assay.data.table import Table
from assay.errors import AssayError
from assay.families import discover, space_of
from assay.metrics import METRICS
from assay.model import checkpoint
from assay.model.compose import combine
from assay.model.ensemble import greedy_weights
from assay.search.strategies._portfolio import Entry, table
from assay.spec import JobSpec, resolve, with_parts
from assay.tasks import discover as tasks
from assay.training.evaluate import Matrices, Request

FOLDS = 4
JUDGES = 0.25  # of the rows
LONGEST = 300.0  # wall-clock seconds one trial may take
CLASS_LIMIT = 20  # distinct whole numbers up to which a numeric target is taken for classes
STEPS, MEMBERS = 15, 10  # of the greedy ensemble: a job's has more, which changes the order little
SEED_ORDER = 30  # entries that are put in order; the rest follows by its mean rank
SHIPPED = Path(__file__).parent.parent / "assay" / "search" / "portfolio.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=("measure", "order"))
    parser.add_argument("tables", nargs="*", help="name=path.csv:target")
    parser.add_argument("--work", type=Path, default=Path("bench-work/portfolio"))
    parser.add_argument("--more", type=Path, help="further entries, as in portfolio.json")
    parser.add_argument("--rows", type=int, default=2000, help="rows of a table that are used")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0, help="budget of the check")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    entries = _entries(given.more)
    if given.do == "measure":
        jobs = [(t, entries, given.work, given.rows) for t in given.tables]
        with ProcessPoolExecutor(given.processes) as pool:
            for told in pool.map(_measure, jobs):
                print(told, flush=True)
    else:
        _order(entries, given.work, given.seconds, given.out)


def _entries(more: Path | None) -> list[Entry]:
    listed = list(table())
    if more is not None:
        listed += [Entry(e["family"], e["config"], e["source"]) for e in json.loads(more.read_text())]
    return [e for e in listed if {"classification", "regression"} & discover()[e.family].tasks]


def _key(entry: Entry) -> str:
    space = space_of(discover()[entry.family])
    key = space.key(space.complete({**space.defaults(), **entry.config}))
    return f"{entry.family}-{zlib.crc32(key.encode())}"  # the same in every process, unlike `hash`


# -- measuring


def _measure(job: tuple[str, Sequence[Entry], Path, int]) -> str:
    """All entries on one table; returns a line about it."""
    named, entries, work, most = job
    name, _, rest = named.partition("=")
    path, _, target = rest.rpartition(":")
    began = time.monotonic()
    try:
        matrices = _matrices(read(Path(path)).table, target, most)
    except AssayError as error:
        return f"{name}: {error}"
    problem = matrices.problem
    done = 0
    for entry in entries:
        family = discover()[entry.family]
        file = work / f"{name}.{_key(entry)}.npz"
        if problem.resolved.task not in family.tasks or file.exists():
            continue
        space = space_of(family)
        scratch = work / f"{name}.safetensors"
        config = space.complete({**space.defaults(), **entry.config})
        spent = time.process_time()  # what other work of the machine does not change
        try:
            tasks()[problem.resolved.task].evaluate(
                matrices, Request(family, config, seed=1, path=scratch, seconds=LONGEST)
            )
        except Exception as error:
            print(f"{name} {entry.family}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        kept = checkpoint.load(scratch)
        np.savez_compressed(
            file,
            oof=kept.array("oof").astype(np.float32),
            test=kept.array("test").astype(np.float32),
            y=problem.y,
            seconds=time.process_time() - spent,
            rows=np.array([len(problem.y), len(problem.features.names), len(problem.classes)]),
            covered=problem.folds.covered,
            judges=problem.folds.test,
        )
        scratch.unlink()
        done += 1
    return f"{name}: {len(problem.y)} rows, {done} entries in {time.monotonic() - began:.0f} s"


def _matrices(whole: Table, target: str, most: int) -> Matrices:
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(whole))[:most]
    data = whole.take(chosen)
    about = profile(data, target)
    column = next(c for c in about.columns if c.name == target)
    numeric = column.type in ("number", "integer", "id") and column.distinct > CLASS_LIMIT
    kind = "regression" if numeric else "classification"
    spec = JobSpec.from_json(
        {
            "task": {"type": kind, "target": target},
            "objective": {"metric": "rmse" if numeric else "log_loss"},
            "validation": {"folds": FOLDS},
        }
    )
    judges = int(JUDGES * len(data))
    resolved = with_parts(resolve(spec, about), len(data) - judges, None, judges)
    return Matrices(tasks()[kind].prepare(data, resolved))


# -- ordering


@dataclass(frozen=True, eq=False)
class Measured:
    """One table's results.  oof: entries x (n, k), test: entries x (m, k), by position of the entry."""

    name: str
    y: np.ndarray
    y_test: np.ndarray
    oof: Mapping[int, np.ndarray]
    test: Mapping[int, np.ndarray]
    seconds: Mapping[int, float]
    n_classes: int


def _order(entries: Sequence[Entry], work: Path, seconds: float, out: Path) -> None:
    names = sorted({p.name.split(".")[0] for p in work.glob("*.npz")})
    found = [m for m in (_read(work, n, entries) for n in names) if m is not None]
    if len(found) < 3:
        raise SystemExit(f"{len(found)} tables were measured; an order needs three")
    shipped = list(range(len(entries)))
    learned = _walk(found, entries)
    lines, gains = [], []
    for left_out in found:
        others = [m for m in found if m is not left_out]
        order = _walk(others, entries)
        new, old = (_at(left_out, o, seconds) for o in (order, shipped))
        everything = _loss(left_out, frozenset(left_out.oof))
        gains.append(math.log(new / old))
        lines.append(f"| {left_out.name} | {len(left_out.y)} | {old:.4f} | {new:.4f} | {everything:.4f} |")
    text = _report(entries, learned, lines, gains, seconds)
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{datetime.date.today().isoformat()}-portfolio.md").write_text(text, encoding="utf-8")
    rows = [entries[i].to_json() for i in learned]
    others_kept = [e for e in table() if not {"classification", "regression"} & discover()[e.family].tasks]
    rows += [e.to_json() for e in others_kept]
    body = ",\n".join(json.dumps(r, ensure_ascii=False) for r in rows)
    (work / "portfolio.json").write_text(f"[\n{body}\n]\n", encoding="utf-8")
    print(text)


def _read(work: Path, name: str, entries: Sequence[Entry]) -> Measured | None:
    oof, test, seconds = {}, {}, {}
    facts: Any = None
    for i, entry in enumerate(entries):
        file = work / f"{name}.{_key(entry)}.npz"
        if file.exists():
            with np.load(file) as got:
                covered = got["covered"]
                oof[i], test[i], seconds[i] = (
                    got["oof"][covered].astype(float),
                    got["test"].astype(float),
                    float(got["seconds"]),
                )
                facts = got["y"][covered], got["y"][got["judges"]], int(got["rows"][2])
    return None if facts is None else Measured(name, facts[0], facts[1], oof, test, seconds, facts[2])


def _walk(found: Sequence[Measured], entries: Sequence[Entry]) -> list[int]:
    """The greedy order.  Loss of a table: over that of the ensemble of all its entries, so that tables weigh alike."""
    goal = {m.name: _loss(m, frozenset(m.oof)) for m in found}
    price = [
        float(np.median([m.seconds[i] / _typical(m) for m in found if i in m.seconds] or [np.inf]))
        for i in range(len(entries))
    ]
    chosen: list[int] = []

    def value(members: Iterable[int]) -> float:
        held = frozenset(members)
        return float(np.mean([min(3.0, _loss(m, held.intersection(m.oof)) / goal[m.name]) for m in found]))

    before = 3.0
    while len(chosen) < min(SEED_ORDER, len(entries)):
        left = [i for i in range(len(entries)) if i not in chosen and math.isfinite(price[i])]
        if not left:
            break
        after = {i: value([*chosen, i]) for i in left}
        best = max(left, key=lambda i: ((before - after[i]) / max(0.05, price[i]) ** 0.5, -i))
        if before - after[best] <= 0:
            best = min(left, key=lambda i: (after[i], i))
        before = after[best]
        chosen.append(best)
    alone = {
        i: float(np.mean([_loss(m, frozenset([i])) / goal[m.name] for m in found if i in m.oof] or [9.0]))
        for i in range(len(entries))
    }
    return chosen + sorted((i for i in range(len(entries)) if i not in chosen), key=lambda i: alone[i])


def _typical(m: Measured) -> float:
    return float(np.median(list(m.seconds.values())))


@cache
def _loss(m: Measured, members: frozenset[int]) -> float:
    """Test loss of the greedy ensemble of these entries; infinite for none."""
    if not members:
        return math.inf
    metric = METRICS["log_loss" if m.n_classes else "rmse"]
    at = sorted(members)
    weights = greedy_weights(
        [m.oof[i] for i in at], lambda p: metric.score(m.y, p, None), steps=STEPS, max_members=MEMBERS
    )
    blend = combine([m.test[i] for i in at], list(weights), m.n_classes)
    return -float(metric.score(m.y_test, blend, None))


def _at(m: Measured, order: Sequence[int], seconds: float) -> float:
    """Loss when the order ran on two cores for the seconds."""
    room, members = 2.0 * seconds, []
    for i in order:
        if i in m.seconds and m.seconds[i] <= room:
            room -= m.seconds[i]
            members.append(i)
    return _loss(m, frozenset(members))


def _report(
    entries: Sequence[Entry], learned: Sequence[int], lines: list[str], gains: list[float], seconds: float
) -> str:
    mean, spread = float(np.mean(gains)), float(np.std(gains) / math.sqrt(len(gains)))
    head = "\n".join(
        f"{n}. {entries[i].family} {dict(entries[i].config) or 'default'}" for n, i in enumerate(learned[:15], 1)
    )
    table_text = "\n".join(lines)
    won = sum(g < 0 for g in gains)
    return f"""# The order of the portfolio, {datetime.date.today().isoformat()}

Left out one table at a time: the order learned from the others against the shipped one, {seconds:g} s of two cores, test loss of
the greedy ensemble (log-loss, or RMSE).  Mean change {100 * (math.exp(mean) - 1):+.2f} % (standard error {100 * spread:.2f} %),
better on {won} of {len(gains)}.

| table left out | rows | shipped order | learned order | all entries |
|---|---|---|---|---|
{table_text}

The first of the order learned from all tables:

{head}
"""


if __name__ == "__main__":
    main()
