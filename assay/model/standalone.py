"""Predict with this model: python predict.py rows.csv [answers.csv].  Needs Python 3.11, numpy and onnxruntime.

Reads model.onnx and manifest.json beside it.  Rows are read as the service reads them: by the columns' names, numbers
and dates as they were written in the training file.  The answer has one row per row: prediction, and
probability_<class> for each class, or quantile_<q> for each quantile; prediction_<target> and so on for a model of several
targets.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import onnxruntime

from assay.data.rows import InputField, feeds, table_from_csv, table_from_rows
from assay.data.table import Table
from assay.errors import DataError

CHUNK = 8192  # rows answered at once


class Predictor:
    """The model in a folder."""

    def __init__(self, folder: Path | str) -> None:
        self.manifest: dict[str, Any] = json.loads((Path(folder) / "manifest.json").read_text("utf-8"))
        self.schema = [InputField.from_json(f) for f in self.manifest["input_schema"]]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            str(Path(folder) / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def answers(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """One answer for each row: {"value": ..., "probabilities": {class: share}} or {"value": number}; for several
        targets {"value": {target: ...}}."""
        classes = self.manifest["classes"]
        if self.targets:
            names = [t["name"] for t in self.targets]
            several = self.several(table_from_rows(rows, self.schema)[0])
            return [{"value": dict(zip(names, (v for v, _ in row), strict=True))} for row in several]
        found = self.table_answers(table_from_rows(rows, self.schema)[0])
        if self.levels:
            return [{"value": value, "quantiles": dict(zip(self.levels, q, strict=True))} for value, q in found]
        if not classes:
            return [{"value": value, "distance": rest[0]} if rest else {"value": value} for value, rest in found]
        return [{"value": v, "probabilities": dict(zip(classes, shares, strict=True))} for v, shares in found]

    @property
    def targets(self) -> list[dict[str, Any]]:
        """Of a model of several targets: name, classes and outputs of each; else none."""
        found: list[dict[str, Any]] = self.manifest["info"].get("targets", [])
        return found

    @property
    def levels(self) -> list[str]:
        """Of a model of quantiles, which ones it answers; else none."""
        return [f"{q:g}" for q in self.manifest["info"].get("quantiles", [])]

    def several(self, table: Table) -> Iterator[list[tuple[Any, list[float]]]]:
        """For every row the answer and the class probabilities (none for numbers) of every target."""
        outputs = self.manifest["outputs"]
        inputs = feeds(table, self.schema)
        wanted = [outputs[name] for target in self.targets for name in target["outputs"]]
        for start in range(0, len(table), CHUNK):
            part = {name: values[start : start + CHUNK] for name, values in inputs.items()}
            found = dict(zip(wanted, self.session.run(wanted, part), strict=True))
            columns = []
            for target in self.targets:
                own = [found[outputs[name]].tolist() for name in target["outputs"]]
                if target["classes"]:
                    columns.append(list(zip(own[0], own[1], strict=True)))
                else:
                    columns.append([(row[0], []) for row in own[0]])
            yield from (list(row) for row in zip(*columns, strict=True))

    def table_answers(self, table: Table) -> Iterator[tuple[Any, list[float]]]:
        """The answer and the class probabilities (none for numbers) of every row."""
        outputs = self.manifest["outputs"]
        inputs = feeds(table, self.schema)
        for start in range(0, len(table), CHUNK):
            part = {name: values[start : start + CHUNK] for name, values in inputs.items()}
            if "distance" in outputs:  # a clustering
                labels, far = self.session.run([outputs["label"], outputs["distance"]], part)
                yield from zip(labels.tolist(), far.tolist(), strict=True)
                continue
            if not self.manifest["classes"]:
                (values,) = self.session.run([outputs["value"]], part)
                shown: list[list[float]] = [[]] * len(values)
                if "quantiles" in outputs:
                    shown = self.session.run([outputs["quantiles"]], part)[0].tolist()
                yield from ((float(v), q) for v, q in zip(values[:, 0], shown, strict=True))
                continue
            labels, shares = self.session.run([outputs["label"], outputs["probabilities"]], part)
            yield from zip(labels.tolist(), np.asarray(shares, np.float64).tolist(), strict=True)


def main(arguments: Sequence[str]) -> int:
    if len(arguments) not in (1, 2):
        print(__doc__, file=sys.stderr)
        return 2
    model = Predictor(Path(__file__).resolve().parent)
    try:
        table, warnings = table_from_csv(Path(arguments[0]), model.schema)
    except (DataError, OSError) as error:
        print(f"{arguments[0]}: {error}", file=sys.stderr)
        return 1
    for warning in warnings:
        place = "" if warning.row is None else f"row {warning.row + 1}, "
        print(f"{place}{warning.column}: {warning.message}", file=sys.stderr)
    if len(arguments) == 1:
        _write(sys.stdout, model, table)
        return 0
    with Path(arguments[1]).open("w", newline="", encoding="utf-8") as out:
        _write(out, model, table)
    return 0


def _write(out: TextIO, model: Predictor, table: Table) -> None:
    writer = csv.writer(out, lineterminator="\n")
    if model.targets:
        writer.writerow([n for t in model.targets for n in (f"prediction_{t['name']}", *_shares(t))])
        writer.writerows([cell for v, shares in row for cell in (v, *shares)] for row in model.several(table))
        return
    distance = ["distance"] if "distance" in model.manifest["outputs"] else []
    shares = [f"probability_{c}" for c in model.manifest["classes"]]
    writer.writerow(["prediction", *distance, *(f"quantile_{q}" for q in model.levels), *shares])
    writer.writerows([value, *shares] for value, shares in model.table_answers(table))


def _shares(target: Mapping[str, Any]) -> list[str]:
    return [f"probability_{target['name']}_{c}" for c in target["classes"]]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
