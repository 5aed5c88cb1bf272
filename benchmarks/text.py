"""Assay on texts against TF-IDF with logistic regression, on the same split: `python -m benchmarks.text name=file.csv:target`.

Without files it uses generated texts in several scripts.  The peer is scikit-learn's TfidfVectorizer (words and pairs,
sublinear) with LogisticRegression at its defaults and at C = 10; it trains on all training rows.  Writes one dated file
under benchmarks/results/.
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

SHARE = 0.25  # of the rows that judge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="*", help="name=path.csv:target; the texts are all other columns of words")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", type=int, default=1200, help="of the generated data")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    sets = [read(d) for d in given.data] or [("generated", *generated(given.rows))]
    found = [one(name, frame, target, given.seconds, given.threads) for name, frame, target in sets]
    report = {
        "what": "text_classification against TF-IDF + logistic regression",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {"processor": platform.processor() or platform.machine(), "python": platform.python_version()},
        "seconds": given.seconds,
        "threads": given.threads,
        "results": found,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"text-{datetime.date.today().isoformat()}.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}")


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


def one(name: str, frame: Any, target: str, seconds: float, threads: int) -> dict[str, Any]:
    """Both on one stratified split; ratios below 1 are better for log-loss and for the error rate."""
    from sklearn.model_selection import train_test_split

    import assay

    train, test = train_test_split(frame, test_size=SHARE, random_state=0, stratify=frame[target])
    began = time.monotonic()
    model = assay.fit(
        train.reset_index(drop=True), target, task="text_classification", seconds=seconds, threads=threads
    )
    took = time.monotonic() - began
    classes = list(model.classes)
    truth = np.array([classes.index(str(v)) for v in test[target]])
    began = time.monotonic()
    ours = judged(truth, model.predict_proba(test.drop(columns=[target])))
    ms = 1000 * (time.monotonic() - began) / len(test)
    columns = [c for c in frame.columns if c != target and not np.issubdtype(frame[c].dtype, np.number)]
    peers = {f"C={c:g}": judged(truth, peer(train, test, columns, target, classes, c)) for c in (1.0, 10.0)}
    best = {k: min(p[k] for p in peers.values()) for k in ("log_loss", "error")}
    row: dict[str, Any] = {
        "data": name, "rows": len(frame), "classes": len(classes), "assay": ours, "peers": peers,
        "log_loss_ratio": ours["log_loss"] / best["log_loss"], "error_ratio": ours["error"] / max(best["error"], 1e-9),
        "seconds": took, "predict_ms_per_row": ms, "model_mb": len(model.onnx) / 1e6,
        "members": [[m.family, round(m.weight, 3)] for m in model.manifest.members],
    }  # fmt: skip
    print(f"{name}: assay {ours}, peers {peers}, {took:.0f} s")
    return row


def peer(train: Any, test: Any, columns: list[str], target: str, classes: list[str], c: float) -> np.ndarray:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    a, b = (frame[columns].fillna("").agg(" ".join, axis=1) for frame in (train, test))
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    fitted = LogisticRegression(C=c, max_iter=1000).fit(words.fit_transform(a), train[target].astype(str))
    found = fitted.predict_proba(words.transform(b))
    place = [list(fitted.classes_).index(name) for name in classes]
    return np.asarray(found[:, place])


def judged(truth: np.ndarray, p: np.ndarray) -> dict[str, float]:
    shares = np.clip(p[np.arange(len(truth)), truth], 1e-15, 1.0)
    return {"log_loss": float(-np.log(shares).mean()), "error": float((p.argmax(1) != truth).mean())}


if __name__ == "__main__":
    main()
