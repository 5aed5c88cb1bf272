"""Predict with this model: python predict.py rows.csv answers.csv.  Needs onnxruntime and numpy, nothing else.

Reads model.onnx and manifest.json beside it.  The csv has one column per input (others are passed over, missing ones
count as missing values); the answer has one row per row: prediction, and probability_<class> for each class.
"""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

CHUNK = 4096  # rows answered at once


class Predictor:
    """The model in a folder."""

    def __init__(self, folder: Path | str) -> None:
        self.manifest: dict[str, Any] = json.loads((Path(folder) / "manifest.json").read_text("utf-8"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            str(Path(folder) / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def answers(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """One answer for each row: {"value": ..., "probabilities": {class: share}} or {"value": number}."""
        outputs, classes = self.manifest["outputs"], self.manifest["classes"]
        answers: list[dict[str, Any]] = []
        for start in range(0, len(rows), CHUNK):
            feeds = self._feeds(rows[start : start + CHUNK])
            if not classes:
                (values,) = self.session.run([outputs["value"]], feeds)
                answers += [{"value": float(v)} for v in values[:, 0]]
                continue
            labels, shares = self.session.run([outputs["label"], outputs["probabilities"]], feeds)
            for label, share in zip(labels, shares, strict=True):
                answers.append(
                    {"value": str(label), "probabilities": dict(zip(classes, map(float, share), strict=True))}
                )
        return answers

    def _feeds(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        feeds: dict[str, np.ndarray] = {}
        for field in self.manifest["input_schema"]:
            form = field.get("format") or {}
            values = [row.get(field["name"]) for row in rows]
            if field["type"] in ("number", "integer"):
                numbers = [number(v, form) for v in values]
                feeds[field["name"]] = np.array(numbers, np.float32).reshape(-1, 1)
            else:
                read = {"datetime": date, "boolean": boolean}.get(field["type"], text)
                words = [read(v, form) for v in values]
                feeds[field["name"]] = np.array(words, object).reshape(-1, 1)
        return feeds


def number(value: Any, form: Mapping[str, Any]) -> float:
    """A number as written in the training file; NaN for anything else."""
    if value is None or isinstance(value, int | float):
        return math.nan if value is None else _bounded(float(value))
    written = re.sub(r"\s", " ", str(value).replace("\u2212", "-")).strip()
    match = re.search(r"(?:[0-9][0-9.,'’ ]*|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?", written)
    if match is None:
        return math.nan
    before, after = written[: match.start()].strip(), written[match.end() :].strip()
    minus = "-" in before or (before.startswith("(") and after.endswith(")"))
    if (before.strip(" +-(") or after.strip(" %)")) not in ("", form.get("currency", "")):
        return math.nan  # other words stand around it
    thousands, decimal = form.get("thousands", ""), form.get("decimal", ".")
    plain = match[0].strip().replace(thousands, "") if thousands else match[0].strip()
    try:
        found = float(plain.replace(decimal, ".") if decimal != "." else plain)
    except ValueError:
        return math.nan
    return _bounded(-found if minus else found)


def _bounded(value: float) -> float:
    return max(min(value, 1e38), -1e38) if math.isfinite(value) else math.nan


def text(value: Any, form: Mapping[str, Any]) -> str:
    """The text itself; "" for missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    word = str(value).strip()
    return "" if word in form.get("missing", ()) else word


def boolean(value: Any, form: Mapping[str, Any]) -> str:
    """true or false in the words of the training file."""
    if isinstance(value, bool):
        return str(form.get("true" if value else "false") or value).strip()
    return text(value, form)


def date(value: Any, form: Mapping[str, Any]) -> str:
    """YYYY-MM-DD HH:MM:SS from day/month/year or month/day/year if the training file wrote so; others as they are."""
    word = text(value, form)
    order = {"d/m/y": (2, 1, 0), "m/d/y": (2, 0, 1)}.get(form.get("dates", ""))
    match = re.match(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4}|\d{2})(.*)", word)
    if order is None or match is None:
        return word
    parts = [int(p) for p in match.groups()[:3]]
    year, month, day = (parts[i] for i in order)
    if len(match[3]) == 2:
        year += 1900 if year >= 70 else 2000
    return f"{year:04}-{month:02}-{day:02}{match[4]}"


def main(arguments: Sequence[str]) -> int:
    if len(arguments) not in (1, 2):
        print(__doc__, file=sys.stderr)
        return 2
    model = Predictor(Path(__file__).resolve().parent)
    with open(arguments[0], newline="", encoding="utf-8-sig") as file:
        first = file.readline()
        delimiter = max(",;\t|", key=first.count)
        file.seek(0)
        rows = list(csv.DictReader(file, delimiter=delimiter))
    answers = model.answers(rows)
    classes: list[str] = model.manifest["classes"]
    lines: Iterable[list[Any]] = (
        [a["value"], *(f"{a['probabilities'][c]:.9g}" for c in classes)] if classes else [f"{a['value']:.9g}"]
        for a in answers
    )
    target = open(arguments[1], "w", newline="", encoding="utf-8") if len(arguments) == 2 else nullcontext(sys.stdout)  # noqa: SIM115
    with target as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["prediction", *(f"probability_{c}" for c in classes)])
        writer.writerows(lines)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
