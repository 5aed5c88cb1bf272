"""Assay on tables beside other engines and without each of its ingredients, through REST.

    python -m benchmarks.tables FOLDER [--sets a b] [--seeds 0 1 2] [--seconds 60] [--cases full trees ...]
        [--peers lightgbm catboost] [--engine "name=command"] --rows results.csv --report results.md

FOLDER has a `manifest.json`: a list of `name`, `path`, `target`, `task` (binary, multiclass, regression), `drop` and
`read` (arguments of pandas).  Every seed splits a table anew into 80 % that train and 20 % that judge (stratified for
classes); every case and engine gets the same parts, one after the other.  Score: ROC AUC, log-loss or root mean squared
error.  A command of `--engine` is given `{train} {test} {target} {task} {seconds} {seed} {out}` and writes `out`: a column for
each class with its probability, or `pred`.  Rows that stand in results.csv are not run again; the report is of all of them.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks._rest import ask, service

if TYPE_CHECKING:
    from collections.abc import Sequence

METRIC = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}
NETS = ("realmlp", "tabm", "ft_transformer", "cofibi", "mlp")
BOOSTED = ("lightgbm", "catboost", "xgboost")


@dataclass(frozen=True)
class Part:
    """One split of one table."""

    name: str
    task: str
    target: str
    seed: int
    train: pd.DataFrame
    test: pd.DataFrame


def cases(families: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What a job asks for beside its data, by the name of what is taken away."""
    known = set(families)
    return {
        "full": {},
        "one model": {"search": {"ensemble": False}},
        "no nets": {"search": {"families": sorted(known - set(NETS))}},
        "boosted trees": {"search": {"families": sorted(known & set(BOOSTED))}},
        "no boosted trees": {"search": {"families": sorted(known - set(BOOSTED))}},
        "random search": {"search": {"strategy": "random"}},
        "portfolio alone": {"search": {"strategy": "portfolio"}},
        "no fit on all rows": {"validation": {"refit": False}},
    }


def split(folder: Path, entry: dict[str, Any], seed: int, rows: int) -> Part:
    from sklearn.model_selection import train_test_split

    frame = pd.read_csv(folder / entry["path"], low_memory=False, **entry.get("read", {}))
    target, task = entry["target"], entry["task"]
    frame = frame.drop(columns=[c for c in entry.get("drop") or [] if c in frame]).dropna(subset=[target])
    if task != "regression":
        frame = frame[frame[target].map(frame[target].value_counts()) >= 10]
    if len(frame) > rows:
        frame = frame.sample(rows, random_state=seed)
    strata = None if task == "regression" else frame[target]
    train, test = train_test_split(frame, test_size=0.2, random_state=seed, stratify=strata)
    return Part(entry["name"], task, target, seed, train.reset_index(drop=True), test.reset_index(drop=True))


def score(part: Part, answers: pd.DataFrame) -> float:
    """answers: `pred`, or one column for each class."""
    from sklearn.metrics import log_loss, roc_auc_score

    y = part.test[part.target]
    if part.task == "regression":
        return float(np.sqrt(np.mean((y.to_numpy(float) - answers["pred"].to_numpy(float)) ** 2)))
    classes = sorted(part.train[part.target].astype(str).unique())
    p = np.clip(answers[classes].to_numpy(float), 1e-7, 1.0)
    p /= p.sum(1, keepdims=True)
    if part.task == "binary":
        return float(roc_auc_score(y.astype(str) == classes[1], p[:, 1]))
    return float(log_loss(y.astype(str), p, labels=classes))


def assay(running: Any, part: Part, seconds: float, more: dict[str, Any]) -> tuple[pd.DataFrame, float]:
    task = {"type": "regression" if part.task == "regression" else "classification", "target": part.target}
    questions = part.test.drop(columns=part.target)
    given = {"objective": {"metric": METRIC[part.task]}, **more}
    found = ask(running, f"{part.name}-{part.seed}", part.train, questions, task, seconds, **given)
    frame = pd.DataFrame(found.answers)
    if part.task == "regression":
        return frame.rename(columns={"prediction": "pred"}), found.wall
    return frame.filter(regex="^probability_").rename(columns=lambda c: c.removeprefix("probability_")), found.wall


def boosted(name: str, part: Part) -> tuple[pd.DataFrame, float]:
    """LightGBM or CatBoost with its own defaults and its own treatment of categories, on two threads."""
    x, questions = (f.drop(columns=part.target).copy() for f in (part.train, part.test))
    words = [c for c in x if not pd.api.types.is_numeric_dtype(x[c]) or x[c].dtype == bool]
    for c in words:
        x[c], questions[c] = (f[c].astype(object).where(f[c].notna(), "nan").astype(str) for f in (x, questions))
        if name == "lightgbm":
            kind = pd.CategoricalDtype(sorted(x[c].unique()))
            x[c], questions[c] = x[c].astype(kind), questions[c].astype(kind)
    y = part.train[part.target]
    began = time.monotonic()
    model: Any
    if name == "lightgbm":
        import lightgbm

        x.columns = questions.columns = pd.Index([f"f{i}" for i in range(x.shape[1])])
        made = lightgbm.LGBMRegressor if part.task == "regression" else lightgbm.LGBMClassifier
        model = made(n_jobs=2, random_state=part.seed, verbose=-1)
    else:
        import catboost

        made = catboost.CatBoostRegressor if part.task == "regression" else catboost.CatBoostClassifier
        model = made(thread_count=2, random_seed=part.seed, verbose=0, cat_features=words, allow_writing_files=False)
    model.fit(x, y if part.task == "regression" else y.astype(str))
    wall = time.monotonic() - began
    if part.task == "regression":
        return pd.DataFrame({"pred": model.predict(questions)}), wall
    return pd.DataFrame(model.predict_proba(questions), columns=[str(c) for c in model.classes_]), wall


def outside(command: str, part: Part, seconds: float) -> tuple[pd.DataFrame, float]:
    with tempfile.TemporaryDirectory() as folder:
        train, test, out = (Path(folder) / n for n in ("train.csv", "test.csv", "out.csv"))
        part.train.to_csv(train, index=False)
        part.test.to_csv(test, index=False)
        facts = {"target": part.target, "task": part.task, "seconds": f"{seconds:g}", "seed": str(part.seed)}
        words = [
            w.format(train=train, test=test, out=out, **facts) for w in shlex.split(command)
        ]  # cut before it is filled in: names may hold blanks
        began = time.monotonic()
        subprocess.run(words, check=True, capture_output=True, timeout=seconds * 6 + 600)
        return pd.read_csv(out), time.monotonic() - began


def report(rows: pd.DataFrame) -> str:
    """Mean and standard deviation over the splits, and pairs won by `full` (ties: within a thousandth of the other)."""
    lines = []
    for seconds, of_budget in rows.groupby("seconds"):
        names = ["full", *sorted(set(of_budget.engine) - {"full"})]
        lines += [
            f"## {seconds:g} s",
            "",
            "| table | splits | " + " | ".join(names) + " |",
            "|---" * (len(names) + 2) + "|",
        ]
        wins = {n: [0, 0, 0] for n in names[1:]}
        for table, of_table in of_budget.groupby("table"):
            cells, sign = [], -1.0 if of_table.task.iloc[0] == "binary" else 1.0
            whole = of_table.pivot_table(index="seed", columns="engine", values="score")
            for n in names:
                got = whole[n].dropna() if n in whole else pd.Series(dtype=float)
                spread = f" ± {got.std():.2g}" if len(got) > 1 else ""
                cells.append(f"{got.mean():.5g}{spread}" if len(got) else "–")
                if n != "full" and len(got) and "full" in whole:
                    for a, b in whole[["full", n]].dropna().itertuples(index=False):
                        gap = sign * (b - a) / max(abs(b), 1e-12)
                        wins[n][0 if gap > 1e-3 else 2 if gap < -1e-3 else 1] += 1
            lines.append(f"| {table} | {len(whole)} | " + " | ".join(cells) + " |")
        lines += ["", "Full against each, splits won / level / lost:", ""]
        lines += [f"- {n}: {w} / {t} / {lost}" for n, (w, t, lost) in wins.items()]
        walls = of_budget.groupby("engine").wall.agg(["median", "max"])
        lines += [
            "",
            "Seconds, median and longest: " + "; ".join(f"{n} {a:.1f}, {b:.1f}" for n, a, b in walls.itertuples()),
            "",
        ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="*")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2], help="of the split")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--cases", nargs="*", default=["full"])
    parser.add_argument("--peers", nargs="*", default=["lightgbm", "catboost"])
    parser.add_argument("--engine", action="append", default=[], help="name=command")
    parser.add_argument("--max-rows", type=int, default=50_000)
    parser.add_argument("--rows", type=Path, required=True, help="CSV that grows")
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    known = [e for e in json.loads((given.folder / "manifest.json").read_text()) if e["task"] in METRIC]
    chosen = [e for e in known if given.sets is None or e["name"] in given.sets]
    commands = dict(e.split("=", 1) for e in given.engine)
    rows = pd.read_csv(given.rows).to_dict("records") if given.rows.exists() else []
    done = {(r["table"], r["seed"], r["seconds"], r["engine"]) for r in rows}
    with service() as running:
        tasks = running.client.call("GET", "/v1/tasks")["data"]
        asked = {t["name"]: cases(t["families"]) for t in tasks if t["name"] in ("classification", "regression")}
        for seed in given.seeds:
            for entry in chosen:
                part = split(given.folder, entry, seed, given.max_rows)
                kinds = asked["regression" if part.task == "regression" else "classification"]
                for engine in (*given.cases, *given.peers, *commands):
                    if (part.name, seed, given.seconds, engine) in done:
                        continue
                    try:
                        if engine in kinds:
                            answers, wall = assay(running, part, given.seconds, kinds[engine])
                        elif engine in commands:
                            answers, wall = outside(commands[engine], part, given.seconds)
                        else:
                            answers, wall = boosted(engine, part)
                        value = score(part, answers)
                    except Exception as error:
                        print(f"{part.name} seed {seed} {engine}: {error}", flush=True)
                        value, wall = float("nan"), float("nan")
                    row = {"table": part.name, "task": part.task, "seed": seed, "seconds": given.seconds}
                    rows.append({**row, "engine": engine, "score": value, "wall": round(wall, 1)})
                    print(json.dumps(rows[-1]), flush=True)
                    pd.DataFrame(rows).to_csv(given.rows, index=False)
    if given.report:
        given.report.write_text(report(pd.DataFrame(rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
