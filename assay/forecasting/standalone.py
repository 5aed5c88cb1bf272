"""Forecast with this model: python predict.py [history.csv|-] [answers.csv].  Needs Python 3.11, numpy and onnxruntime.

Reads model.onnx and manifest.json beside it.  history.csv has the training file's columns; without it, or with `-`, the
forecast after the training data is written.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from assay.data.rows import InputField, table_from_csv, table_from_rows
from assay.errors import DataError
from assay.forecasting.serve import csv_lines, forecast


def main(arguments: Sequence[str]) -> int:
    if len(arguments) > 2:
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(__file__).resolve().parent
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text("utf-8"))
    facts = manifest["info"]["forecasting"]
    schema = [InputField.from_json(f) for f in manifest["input_schema"]]
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])

    def run(inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        value, quantiles = session.run(["value", "quantiles"], inputs)
        return value, quantiles

    try:
        given = bool(arguments) and arguments[0] != "-"
        table, warnings = table_from_csv(Path(arguments[0]), schema) if given else table_from_rows([], schema)
        lines = list(csv_lines(forecast(table, facts, run), facts))
    except (DataError, OSError) as error:
        print(f"{arguments[0] if arguments else 'the training data'}: {error}", file=sys.stderr)
        return 1
    for warning in warnings:
        print(f"{warning.column}: {warning.message}", file=sys.stderr)
    if len(arguments) < 2:
        csv.writer(sys.stdout, lineterminator="\n").writerows(lines)
        return 0
    with Path(arguments[1]).open("w", newline="", encoding="utf-8") as out:
        csv.writer(out, lineterminator="\n").writerows(lines)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
