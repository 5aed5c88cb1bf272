"""The bundle: one zip with the graph, its manifest, checksums, and all that is needed to use it without Assay.

The same graph and manifest give the same bytes: names are sorted, times fixed, the archive is written in one way.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.errors import DataError
from assay.model.front import PACKAGE, front_files, moved
from assay.model.manifest import Manifest

GRAPH, MANIFEST, SUMS = "model.onnx", "manifest.json", "SHA256SUMS"
RUNTIME = ("numpy", "onnxruntime")  # all that predicting needs
MAX_FILES = 64
MAX_BYTES = 4 << 30  # of all files unpacked
MAX_MANIFEST_BYTES = 64 << 20
_PLAIN_NAME = re.compile(rf"({PACKAGE}/)?[A-Za-z0-9_][A-Za-z0-9_.-]*")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold


@dataclass(frozen=True)
class Bundle:
    """An opened bundle whose checksums were right."""

    manifest: Manifest
    onnx: bytes


LARGE = 1 << 20  # bytes from which on compressing is worth a thought
SHRINKS = 0.8  # of its size that a sample must come down to


def write_bundle(path: Path | str, onnx_bytes: bytes, manifest: Manifest) -> str:
    """Write a bundle and return the sha256 of the file.  It appears whole or not at all."""
    path = Path(path)
    content = bundle_bytes(onnx_bytes, manifest)
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(content)
    beside.replace(path)
    return hashlib.sha256(content).hexdigest()


def bundle_bytes(onnx_bytes: bytes, manifest: Manifest) -> bytes:
    """The bundle as bytes."""
    cuts = any((f.get("front") or {}).get("tokenizer") for f in manifest.input_schema)
    needed = (*RUNTIME, "tokenizers") if cuts else RUNTIME
    requirements = "".join(f"{p}=={importlib.metadata.version(p)}\n" for p in needed)
    files = {
        GRAPH: onnx_bytes,
        "predict.py": moved((Path(__file__).parent / "standalone.py").read_text("utf-8")).encode(),
        "requirements.txt": requirements.encode(),
        "README.md": _readme(manifest).encode("utf-8", "replace"),
        **front_files(f["front"]["kind"] for f in manifest.input_schema if f.get("front")),
    }
    if manifest.task == "generation":
        from assay.generation.readme import generator_files

        files = {GRAPH: onnx_bytes, "requirements.txt": requirements.encode(), **generator_files(manifest)}
    if manifest.task == "forecasting":
        from assay.forecasting.readme import forecaster_files

        files |= forecaster_files(manifest)
    if manifest.task in ("object_detection", "segmentation"):
        from assay.vision.readme import picture_files

        files |= picture_files(manifest, requirements)
    if _sees(manifest):
        from assay.multitask.readme import several_picture_files

        files |= several_picture_files(manifest, requirements)
    document = {**manifest.to_json(), "files": {name: _sha256(data) for name, data in sorted(files.items())}}
    files[MANIFEST] = (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace")
    files[SUMS] = "".join(f"{_sha256(data)}  {name}\n" for name, data in sorted(files.items())).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            level = _level(data)
            entry.compress_type = zipfile.ZIP_DEFLATED if level else zipfile.ZIP_STORED
            entry.create_system = 3  # unix, whatever this is written on
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, data, compresslevel=level)
    return out.getvalue()


def _level(data: bytes) -> int:
    """How hard to try: weights hardly shrink and would cost seconds that a search has better use for.  0: as they are."""
    if len(data) < LARGE:
        return 6
    part = LARGE // 16
    sample = b"".join(data[i : i + part] for i in range(0, len(data) - part, len(data) // 6))
    return 1 if len(zlib.compress(sample, 1)) < SHRINKS * len(sample) else 0


def _sees(manifest: Manifest) -> bool:
    """Whether it tells several targets of pictures."""
    fronts = [f["front"]["kind"] for f in manifest.input_schema if f.get("front")]
    return manifest.task == "multitask" and "image" in fronts


def read_bundle(source: Path | str | bytes) -> Bundle:
    """Open a bundle.

    Raises DataError if it is no bundle, if a checksum is wrong, or if the archive is not to be trusted: names that lead
    elsewhere, names twice, too many files, or more content than announced or allowed.
    """
    label = "the bundle" if isinstance(source, bytes) else Path(source).name
    try:
        with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
            names = _checked_names(archive, label)
            sums = _sums(_read(archive, SUMS, MAX_MANIFEST_BYTES, label), label)
            wrong = sorted(names - {SUMS} ^ sums.keys())
            if wrong:
                raise DataError(f"{label}: {SUMS} and the files do not agree on {wrong[0]!r}", file=label)
            for name in sorted(sums.keys() - {GRAPH, MANIFEST}):
                _verified(archive, name, sums, label, MAX_MANIFEST_BYTES)
            document = json.loads(_verified(archive, MANIFEST, sums, label, MAX_MANIFEST_BYTES))
            graph = _verified(archive, GRAPH, sums, label, MAX_BYTES)
    except FileNotFoundError as error:
        raise DataError(f"{source!s} does not exist", file=label, code="not_found") from error
    except (zipfile.BadZipFile, zlib.error, json.JSONDecodeError, UnicodeDecodeError, NotImplementedError) as error:
        raise DataError(f"{label} is not a model bundle: {error}", file=label) from error
    if not isinstance(document, dict):
        raise DataError(f"{label}: {MANIFEST} must hold an object", file=label)
    return Bundle(Manifest.from_json(document), graph)


def _checked_names(archive: zipfile.ZipFile, label: str) -> set[str]:
    entries = archive.infolist()
    names = [e.filename for e in entries]
    if len(names) > MAX_FILES or len(set(names)) != len(names):
        raise DataError(f"{label} has too many files, or one twice", file=label)
    for name in names:
        if not _PLAIN_NAME.fullmatch(name):
            raise DataError(f"{label} holds {name!r}; a bundle has plain file names and {PACKAGE}/ only", file=label)
    if sum(e.file_size for e in entries) > MAX_BYTES:
        raise DataError(f"{label} unpacks to more than {MAX_BYTES >> 30} GiB", file=label)
    for needed in (GRAPH, MANIFEST, SUMS):
        if needed not in names:
            raise DataError(f"{label} has no {needed}; it is not a model bundle", file=label)
    return set(names)


def _read(archive: zipfile.ZipFile, name: str, limit: int, label: str) -> bytes:
    size = archive.getinfo(name).file_size
    if size > limit:
        raise DataError(f"{label}: {name} is larger than {limit} bytes", file=label)
    with archive.open(name) as file:
        data = file.read(size + 1)  # bounded by what was announced, whatever the stream holds
    if len(data) != size:
        raise DataError(f"{label}: {name} does not have the size it announces", file=label)
    return data


def _verified(archive: zipfile.ZipFile, name: str, sums: dict[str, str], label: str, limit: int) -> bytes:
    data = _read(archive, name, limit, label)
    if _sha256(data) != sums[name]:
        raise DataError(
            f"{label}: {name} has sha256 {_sha256(data)[:12]}…, {SUMS} says {sums[name][:12]}…; download it again",
            file=label,
            code="checksum_mismatch",
        )
    return data


def _sums(data: bytes, label: str) -> dict[str, str]:
    lines = [line.split("  ", 1) for line in data.decode().splitlines()]
    if any(len(line) != 2 or len(line[0]) != 64 for line in lines):
        raise DataError(f"{label}: {SUMS} is malformed", file=label)
    return {name: digest for digest, name in lines}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _readme(manifest: Manifest) -> str:
    rows = "".join(
        f"| `{_cell(f['name'])}` | {f['type']} | {_cell(f.get('example', ''))} | "
        f"{_cell(manifest.fronts.get(f['name'], ''))} |\n"
        for f in manifest.input_schema
    )
    metrics = "".join(f"| {k} | {v:.6g} |\n" for k, v in sorted(manifest.metrics.items()))
    members = "".join(f"| {m.trial} | {m.family} | {m.weight:.3f} |\n" for m in manifest.members)
    several = manifest.info.get("targets", ())
    answer = "; ".join(
        f"{_cell(t['name'])}: {', '.join(f'`{manifest.outputs[o]}`' for o in t['outputs'])}"
        + (f" (in the order {', '.join(map(_cell, t['classes']))})" if t["classes"] else "")
        for t in several
    ) or (
        f"`{manifest.outputs.get('label')}` (string `[N]`) and `{manifest.outputs.get('probabilities')}` "
        f"(float32 `[N, {len(manifest.classes)}]`, in the order {', '.join(map(_cell, manifest.classes))})"
        if manifest.classes
        else f"`{manifest.outputs.get('value')}` (float32 `[N, 1]`)"
    )
    if "quantiles" in manifest.info:
        levels = ", ".join(f"{q:g}" for q in manifest.info["quantiles"])
        answer += f"; `{manifest.outputs['quantiles']}` (float32 `[N, {len(manifest.info['quantiles'])}]`: {levels})"
    purpose = f"Predicts `{_cell(manifest.target)}` ({manifest.task}, {manifest.kind}), chosen by {manifest.metric}."
    if manifest.task == "clustering":
        found = manifest.info["clusters"]
        purpose = f"Puts rows into {len(found['sizes'])} clusters, chosen by {manifest.metric}: {found['predict']}."
        label, distance = manifest.outputs["label"], manifest.outputs["distance"]
        answer = f"`{label}` (int64 `[N]`, -1 is noise) and `{distance}` (float32 `[N, 1]`)"
    return f"""# {_cell(manifest.name)}

{purpose}

| file | what it is |
|---|---|
| model.onnx | the whole model: raw columns in, answer out, preparation and ensemble inside |
| manifest.json | inputs, outputs, classes, metrics, members, versions |
| predict.py | csv in, csv out; needs Python 3.11 and requirements.txt, not Assay |
| front/ | how predict.py reads numbers and dates as they were written in the training file |
| SHA256SUMS | `sha256sum -c SHA256SUMS` |

## Use it

With Assay: `assay.load("this-file.zip").predict(rows)`.

From the command line: `pip install -r requirements.txt && python predict.py rows.csv answers.csv`

With onnxruntime alone:

```python
{snippet(manifest)}
```

Answers: {answer}.

## Inputs

One input per column, shape `[N, 1]`: float32 for number and integer (NaN is missing), string for all others ("" is
missing).  All inputs must be fed.

| column | type | example | before it enters the graph |
|---|---|---|---|
{rows}
## Measured on validation rows

| metric | value |
|---|---|
{metrics}
## Members

| trial | family | weight |
|---|---|---|
{members}"""


def snippet(manifest: Manifest) -> str:
    """Ten lines that predict one row with onnxruntime alone."""
    row = {f["name"]: _example(f) for f in manifest.input_schema}
    if any(f.get("front") for f in manifest.input_schema):  # what it does is in predict.py's package `front`
        return f"""import json
from predict import Predictor

row = json.loads({json.dumps(row, ensure_ascii=True)!r})
print(Predictor(".").answers([row]))"""
    return f"""import json, numpy as np, onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
manifest = json.load(open("manifest.json", encoding="utf-8"))
row = json.loads({json.dumps(row, ensure_ascii=True)!r})
feeds = {{}}
for field in manifest["input_schema"]:
    number = field["type"] in ("number", "integer")
    feeds[field["name"]] = np.array([[row[field["name"]]]], np.float32 if number else object)
print(session.run(None, feeds))"""


def _example(field: Any) -> Any:
    value = field.get("example")
    if field["type"] in ("number", "integer"):
        try:
            return float(value)
        except (TypeError, ValueError):
            return 0.0
    return "" if value is None else str(value)


def _cell(value: object) -> str:
    """Text fit for a cell of a table: no line ends, bars or backticks."""
    return " ".join(str("" if value is None else value).replace("|", "/").replace("`", "'").split())
