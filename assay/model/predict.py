"""A delivered model in use: onnxruntime over the graph, behind the front that reads what people send."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.data.images.sent import Sent, looks_like_pictures, sent
from assay.data.longform import GROUP
from assay.data.rows import (
    InputField,
    RowWarning,
    feeds,
    table_from_columns,
    table_from_csv,
    table_from_pandas,
    table_from_rows,
    table_from_table,
)
from assay.data.table import ColumnType, Table
from assay.errors import DataError
from assay.generation.samples import refuse_prediction
from assay.model.bundle import Bundle, bundle_bytes, read_bundle
from assay.model.manifest import Manifest
from assay.tasks import TaskType
from assay.tasks import discover as tasks

if TYPE_CHECKING:
    import onnxruntime

    from assay.generation.samples import Samples

BATCH = 8192  # rows a run: bounds the memory of wide ensembles and costs no speed
CELLS = 1 << 19  # numbers of all inputs a run: the same for long texts
EXPLAINS = "attention_"  # outputs that are computed when an explanation asks for them


class Model:
    """A loaded model.  Safe for threads: the session keeps no state between runs."""

    def __init__(self, onnx: bytes, manifest: Manifest, threads: int = 1) -> None:
        import onnxruntime

        self.manifest = manifest
        self.onnx = onnx
        self.schema = tuple(InputField.from_json(f) for f in manifest.input_schema)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session: onnxruntime.InferenceSession = onnxruntime.InferenceSession(
            onnx, options, providers=["CPUExecutionProvider"]
        )

    def predict(self, data: Any) -> list[Any]:
        """The answer for every row, in order: class labels (str) or numbers (float).

        data: rows as mappings, a pandas DataFrame, a Table, a path to a CSV file, or CSV as bytes; for a model of pictures
        also a picture (bytes or a path), a list of them, or a zip of them.  Raises DataError.
        """
        return [a["value"] for a in self.answer(data)[0]]

    def predict_proba(self, data: Any) -> np.ndarray:
        """Class probabilities (n, k), in the order of `classes`.  Raises DataError for a regression model."""
        if not self.classes and not self.manifest.info.get("targets"):
            raise DataError("a regression model has no probabilities; use predict", code="validation_error")
        return self.numbers(self.read(data)[0])

    def answer(self, data: Any) -> tuple[list[dict[str, Any]], list[RowWarning]]:
        """One object a row, as the service answers, and what was odd in the rows."""
        table, warnings = self.read(data)
        return answers(self.run(table), self.manifest), warnings

    def generate(self, n: int, seed: int = 0, condition: Mapping[str, Any] | None = None) -> Samples:
        """n samples of a generator; the same seed gives the same ones.

        condition: column -> value, or {"min": a, "max": b}.  Raises DataError for another kind of model, or for a
        condition that cannot be met.
        """
        from assay.generation.samples import generate

        return generate(self, n, seed, condition)

    def raw(self, outputs: Sequence[str], inputs: Mapping[str, np.ndarray]) -> Sequence[Any]:
        """The graph's own outputs for its own inputs, by their names in the graph."""
        return list(self._session.run(list(outputs), dict(inputs)))

    def read(self, data: Any) -> tuple[Table, list[RowWarning]]:
        """Any accepted form as a table of the model's columns."""
        refuse_prediction(self.manifest.task)
        if isinstance(data, Table):
            if any(f.role and f.name in data.columns for f in self.schema):
                return table_from_table(data, self.schema)
            missing = [f.name for f in self.schema if f.name not in data.columns and not f.role]
            if missing:
                raise DataError(f"the table has no column {missing[0]!r}", column=missing[0], code="schema_mismatch")
            return data, []
        column = self._picture_column
        if column is None and isinstance(data, Sent):
            raise DataError("pictures were sent, and the model reads rows", code="schema_mismatch")
        if column is not None and _is_pictures(data):
            files = data if isinstance(data, Sent) else sent(data)
            return table_from_rows([{column: f} for f in files.files], self.schema)
        if isinstance(data, (bytes, Path)):
            return table_from_csv(data, self.schema)
        if isinstance(data, str):
            if not Path(data).is_file():
                raise DataError(f"there is no file {data}", file=data)
            return table_from_csv(Path(data), self.schema)
        if isinstance(data, Mapping):
            if set(data) == {"columns", "data"}:
                return table_from_columns(data["columns"], data["data"], self.schema)
            return table_from_rows([data], self.schema)
        if type(data).__module__.split(".")[0] == "pandas":
            return table_from_pandas(data, self.schema)
        return table_from_rows(list(data), self.schema)

    @property
    def _picture_column(self) -> str | None:
        """The input column that holds pictures, where no other one must be given."""
        fields = [f for f in self.schema if not f.role]
        pictures = [f.name for f in fields if f.type is ColumnType.IMAGE]
        return pictures[0] if len(pictures) == 1 and sum(f.required for f in fields) == 1 else None

    def numbers(self, table: Table) -> np.ndarray:
        """What the graph answers: probabilities (n, k) or values (n, 1), float32.  Raises DataError for several targets."""
        if self.manifest.info.get("targets"):
            raise DataError(
                "a model of several targets has no one answer; use answer or predict", code="validation_error"
            )
        return self.run(table, ["probabilities" if self.classes else "value"]).popitem()[1]

    def run(self, table: Table, wanted: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """The graph's outputs by public name, rows first.  wanted: None for all but those that only explain."""
        refuse_prediction(self.manifest.task)
        own_way = getattr(_task(self.manifest), "run", None)
        if own_way is not None:  # a task whose answers are not one a row
            if wanted is not None:
                raise DataError(f"a model of {self.manifest.task} does not answer row by row", code="validation_error")
            answered: dict[str, np.ndarray] = own_way(self, table)
            return answered
        names = [n for n in self.manifest.outputs if not n.startswith(EXPLAINS)] if wanted is None else list(wanted)
        own = [self.manifest.outputs[n] for n in names]
        inputs = feeds(table, self.schema)
        parts = [self._session.run(own, part) for part in _batches(inputs, len(table))]
        if not parts:
            shapes = {o.name: [d for d in o.shape[1:] if isinstance(d, int)] for o in self._session.get_outputs()}
            return {n: np.empty((0, *shapes[o]), np.float32) for n, o in zip(names, own, strict=True)}
        found = {n: np.concatenate([p[i] for p in parts]) for i, n in enumerate(names)}
        group = next((f.name for f in self.schema if f.role == GROUP), None)
        if wanted is None and group in table.columns:
            found[GROUP] = table.words(str(group)).values()
        beside = getattr(_task(self.manifest), "beside", None)  # what answers need of the rows themselves
        return found if beside is None or wanted is not None else {**found, **beside(table, self.manifest)}

    def save(self, path: Path | str) -> Path:
        """Write the model as a bundle."""
        path = Path(path)
        path.write_bytes(bundle_bytes(self.onnx, self.manifest))
        return path

    @property
    def classes(self) -> tuple[str, ...]:
        return self.manifest.classes

    @property
    def metrics(self) -> Mapping[str, float]:
        """Public metric values on validation rows; `manifest.test_metrics` are those on rows no trial saw."""
        return self.manifest.metrics

    @cached_property
    def sha256(self) -> str:
        """Of the graph."""
        return hashlib.sha256(self.onnx).hexdigest()

    def __repr__(self) -> str:
        m = self.manifest
        value = m.metrics.get(m.metric)
        shown = "" if value is None else f", {m.metric} {value:.4g}"
        return f"<assay.Model {m.task} of {m.target!r}: {len(m.members)} member(s){shown}>"


def load(source: Path | str | bytes, threads: int = 1) -> Model:
    """A model from its bundle (a path, or the bytes).  Raises DataError when it is damaged or none."""
    if isinstance(source, str) and not Path(source).is_file():
        raise DataError(f"there is no file {source}", file=source)
    bundle: Bundle = read_bundle(source)
    return Model(bundle.onnx, bundle.manifest, threads)


def answers(outputs: Mapping[str, np.ndarray], manifest: Manifest) -> list[dict[str, Any]]:
    """Rows as the service answers them.  outputs: from `Model.run`."""
    return _task(manifest).answers(outputs, manifest)


def csv_lines(outputs: Mapping[str, np.ndarray], manifest: Manifest) -> Iterator[list[str]]:
    """Header and rows of a csv answer."""
    return _task(manifest).csv(outputs, manifest)


def _is_pictures(data: Any) -> bool:
    """Whether these are files, not rows: a list of rows and a CSV are none."""
    if isinstance(data, Sent):
        return True
    if isinstance(data, bytes):
        return looks_like_pictures(data)
    if isinstance(data, (str, Path)):
        return not str(data).lower().endswith((".csv", ".tsv", ".txt"))
    return isinstance(data, (list, tuple)) and bool(data) and all(isinstance(d, (bytes, str, Path)) for d in data)


def _task(manifest: Manifest) -> TaskType:
    found = tasks().get(manifest.task)
    if found is None:
        raise DataError(f"the model's task {manifest.task!r} is not known to this version")
    return found


def predict_table_file(bundle: Path, table: Path, out: Path) -> dict[str, Any]:
    """Predict a stored table into a csv file.  Returns the number of rows."""
    model = load(bundle)
    read, _ = table_from_table(Table.read(table), model.schema)
    with out.open("w", newline="", encoding="utf-8") as f:
        csv.writer(f).writerows(csv_lines(model.run(read), model.manifest))
    return {"rows": len(read)}


def _batches(inputs: Mapping[str, np.ndarray], n: int) -> Iterator[dict[str, np.ndarray]]:
    width = sum(math.prod(values.shape[1:]) for values in inputs.values())
    batch = max(64, min(BATCH, CELLS // max(1, width)))
    for start in range(0, n, batch):
        yield {name: values[start : start + batch] for name, values in inputs.items()}
