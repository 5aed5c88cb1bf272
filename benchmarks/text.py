"""Assay on texts against TF-IDF with logistic regression, through REST: `python -m benchmarks.text name=file.csv:target`.

Without files it uses generated texts in several scripts.  The peers are scikit-learn's: TfidfVectorizer with
LogisticRegression, both with every default ("plain"), and words and pairs, sublinear, with C = 10 ("tuned").  Everybody
trains on the same three quarters of the rows; accuracy is of the last quarter.  Writes one dated file under benchmarks/results/.
"""

from __future__ import annotations

import argparse
import datetime
import platform
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._rest import Answered, ask, service

SHARE = 0.25  # of the rows that judge
PEERS: dict[str, tuple[dict[str, Any], float]] = {
    "plain": ({}, 1.0),
    "tuned": ({"ngram_range": (1, 2), "sublinear_tf": True}, 10.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", help="name=path.csv:target; the texts are all other columns of words")
    parser.add_argument("--seconds", type=float, nargs="*", default=[60.0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0], help="of the split")
    parser.add_argument("--rows", type=int, default=1200, help="of the generated data")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    sets = [read(d) for d in given.data] or [("generated", *generated(given.rows))]
    lines: list[str] = []
    with service() as running:
        for seconds in given.seconds:
            for name, frame, target in sets:
                for seed in given.seeds:
                    lines.append(one(running, name, frame, target, seconds, seed))
                    print(lines[-1], flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"{datetime.date.today().isoformat()}-text.md"
    path.write_text(report(lines), encoding="utf-8")
    print(f"wrote {path}")


def report(lines: list[str]) -> str:
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    return f"""# Texts against TF-IDF with logistic regression, {datetime.date.today().isoformat()}

Through REST, embedded, every default; a stratified quarter of the rows judges and was seen by nobody.  {machine}, two cores
that did other work of low priority.  `±` is the standard error of the difference of the two accuracies, from the rows on which
they disagree.

| data | rows | classes | limit s | seed | Assay | plain | tuned | Assay less better peer | wall s | trials | members |
|---|---|---|---|---|---|---|---|---|---|---|---|
""" + "".join(f"{line}\n" for line in lines)


def read(spec: str) -> tuple[str, Any, str]:
    import pandas as pd

    name, _, rest = spec.partition("=")
    path, _, target = rest.rpartition(":")
    return name, pd.read_csv(path), target


def generated(rows: int) -> tuple[Any, str]:
    import pandas as pd

    from assay.testing.toy_text import toy_texts

    texts, y, _ = toy_texts("multiclass", rows)
    return pd.DataFrame({"text": texts.values(), "mood": [f"class {c}" for c in y]}), "mood"


def one(running: Any, name: str, frame: Any, target: str, seconds: float, seed: int) -> str:
    """A row of the report: all on one stratified split."""
    from pandas.api.types import is_numeric_dtype
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(frame, test_size=SHARE, random_state=seed, stratify=frame[target])
    found: Answered = ask(
        running,
        f"{name}-{seed}",
        train,
        test.drop(columns=[target]),
        {"type": "text_classification", "target": target},
        seconds,
    )
    truth = test[target].astype(str).to_numpy()
    right = np.array(found.values) == truth
    columns = [c for c in frame.columns if c != target and not is_numeric_dtype(frame[c])]
    peers = {p: peer(train, test, columns, target, *how) == truth for p, how in PEERS.items()}
    best = max(peers.values(), key=lambda hits: hits.mean())
    error = float(np.std(right.astype(float) - best) / np.sqrt(len(best)))
    return (
        f"| {name} | {len(frame)} | {frame[target].nunique()} | {seconds:g} | {seed} | {right.mean():.4f} | "
        f"{peers['plain'].mean():.4f} | {peers['tuned'].mean():.4f} | {right.mean() - best.mean():+.4f} ± {error:.4f} | "
        f"{found.wall:.1f} | {found.trials} | {', '.join(found.families)} |"
    )


def peer(train: Any, test: Any, columns: list[str], target: str, words: dict[str, Any], c: float) -> np.ndarray:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    a, b = (frame[columns].fillna("").agg(" ".join, axis=1) for frame in (train, test))
    reading = TfidfVectorizer(**words)
    fitted = LogisticRegression(C=c, max_iter=1000).fit(reading.fit_transform(a), train[target].astype(str))
    return np.asarray(fitted.predict(reading.transform(b)))


if __name__ == "__main__":
    main()
