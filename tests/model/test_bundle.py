"""The bundle: the same bytes for the same model, nothing trusted unread, usable without Assay."""

import csv
import hashlib
import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from assay.data.prepare import Recipe
from assay.data.table import Table, Words
from assay.errors import DataError
from assay.model.bundle import _level, bundle_bytes, read_bundle, write_bundle
from assay.model.compose import ensemble_graph, member_graph, model_bytes
from assay.model.manifest import Manifest, Member
from assay.model.predict import load
from tests.model.linear import CLASSES, TYPES, classifiers, people, regressors, terciles

FORMATS = {"income": {"decimal": ",", "thousands": "."}, "since": {"dates": "d/m/y"}}
EXAMPLES = {"age": 41, "income": 12.5, "town": "Aa", "since": "2001-02-03 00:00:00"}


@cache
def model(classified: bool = True) -> tuple[bytes, Manifest]:
    table, signal = people(200)
    recipe = Recipe("standard", True, "onehot")
    folds = classifiers(table, terciles(signal), recipe) if classified else regressors(table, signal, recipe)
    classes = CLASSES if classified else ()
    onnx, outputs = model_bytes(ensemble_graph([member_graph(folds)], [1], classes), TYPES)
    schema = tuple(
        {"name": c, "type": str(t), "required": True, "example": EXAMPLES[c], "format": FORMATS.get(c, {})}
        for c, t in TYPES.items()
    )
    manifest = Manifest(
        name="people | `1`",
        kind="multiclass" if classified else "regression",
        task="classification" if classified else "regression",
        target="group",
        metric="accuracy",
        created_at="2026-01-02T03:04:05Z",
        input_schema=schema,
        outputs=outputs,
        classes=classes,
        metrics={"accuracy": 0.75, "rmse": np.float64(0.5)},
        members=(Member(3, "linear", 1.0),),
        fronts={"since": "written as YYYY-MM-DD HH:MM:SS"},
    )
    return onnx, manifest


def rezipped(change: Callable[[dict[str, bytes]], None], sums: bool = True) -> bytes:
    """The bundle with its files changed; with checksums that are right again if `sums`."""
    with zipfile.ZipFile(io.BytesIO(bundle_bytes(*model()))) as archive:
        files = {n: archive.read(n) for n in archive.namelist()}
    change(files)
    if sums:
        del files["SHA256SUMS"]
        lines = [f"{hashlib.sha256(d).hexdigest()}  {n}\n" for n, d in files.items()]
        files["SHA256SUMS"] = "".join(lines).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def unpacked(folder: Path, classified: bool = True) -> Path:
    with zipfile.ZipFile(io.BytesIO(bundle_bytes(*model(classified)))) as archive:
        archive.extractall(folder)
    return folder


def alone(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python in the folder, where importing anything of Assay or a large library fails."""
    block = "import sys\nfor n in ('assay', 'search_spaces', 'sklearn', 'onnx', 'polars', 'pandas'): sys.modules[n] = None\n"
    (folder / "sitecustomize.py").write_text(block)
    path = {"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin", "PYTHONWARNINGS": "error::DeprecationWarning:front"}
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, env=path)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    digests = {write_bundle(tmp_path / f"{i}.zip", *model()) for i in range(2)}
    assert digests == {hashlib.sha256((tmp_path / "1.zip").read_bytes()).hexdigest()}
    onnx, manifest = model()
    assert write_bundle(tmp_path / "3.zip", onnx, replace(manifest, name="other")) not in digests
    assert not list(tmp_path.glob("*.part"))


def test_a_bundle_comes_back_as_it_was_written(tmp_path: Path) -> None:
    onnx, manifest = model()
    write_bundle(tmp_path / "m.zip", onnx, manifest)
    opened = read_bundle(tmp_path / "m.zip")
    assert opened.onnx == onnx
    assert opened.manifest.to_json() == manifest.to_json()
    assert opened.manifest.members == manifest.members and opened.manifest.columns == tuple(TYPES)


def test_the_checksums_are_those_of_the_files(tmp_path: Path) -> None:
    folder = unpacked(tmp_path)
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    document = json.loads((folder / "manifest.json").read_text())
    assert document["files"]["model.onnx"] == hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    names = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert names == {"manifest.json", "SHA256SUMS", *document["files"]}
    assert {p.split("==")[0] for p in (folder / "requirements.txt").read_text().split()} == {"numpy", "onnxruntime"}


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json", "README.md", "front/rows.py"])
def test_a_changed_file_is_refused(name: str) -> None:
    def change(files: dict[str, bytes]) -> None:
        files[name] = files[name][:-1] + b"!"

    with pytest.raises(DataError, match=name) as caught:
        read_bundle(rezipped(change, sums=False))
    assert caught.value.code == "checksum_mismatch"


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/b", "front/../x", "C:evil", "a\\b", "front/", ".hidden"])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(DataError, match=r"plain file names|agree"):
        read_bundle(rezipped(lambda files: files.update({name: b"x"})))


def test_files_beyond_the_checksums_or_missing_are_refused() -> None:
    with pytest.raises(DataError, match=r"do not agree on 'extra.txt'"):
        read_bundle(rezipped(lambda files: files.update({"extra.txt": b"x"}), sums=False))
    with pytest.raises(DataError, match=r"has no model.onnx"):
        read_bundle(rezipped(lambda files: files.pop("model.onnx") and None))


def test_a_bomb_is_refused_before_it_unfolds() -> None:
    with pytest.raises(DataError, match="larger than"):
        read_bundle(rezipped(lambda files: files.update({"bomb": bytes(80 << 20)})))
    with pytest.raises(DataError, match="too many files"):
        read_bundle(rezipped(lambda files: files.update({f"f{i}": b"" for i in range(100)})))


def test_a_size_that_is_announced_wrongly_is_refused() -> None:
    honest = bytearray(rezipped(lambda files: files.update({"pad": bytes(1000)})))
    announced = (1000).to_bytes(4, "little")
    place = honest.rindex(b"pad") - 46 + 24  # the uncompressed size in the central directory
    assert honest[place : place + 4] == announced
    honest[place : place + 4] = (10).to_bytes(4, "little")
    with pytest.raises(DataError):
        read_bundle(bytes(honest))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 but no zip", b"\x00" * 500])
def test_what_is_no_zip_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="not a model bundle"):
        read_bundle(content)


def test_a_cut_download_is_refused_and_a_missing_file_is_named(tmp_path: Path) -> None:
    content = bundle_bytes(*model())
    for size in (len(content) // 2, len(content) - 10):
        with pytest.raises(DataError):
            read_bundle(content[:size])
    with pytest.raises(DataError, match="does not exist"):
        read_bundle(tmp_path / "nowhere.zip")


@pytest.mark.parametrize(
    ("document", "message"),
    [({"format": "other"}, "this version reads"), ({}, "incomplete"), ({"input_schema": [{"name": "a"}]}, "a type")],
)
def test_a_manifest_that_lacks_something_is_refused(document: dict[str, object], message: str) -> None:
    whole = model()[1].to_json() if document else {"format": model()[1].to_json()["format"]}
    with pytest.raises(DataError, match=message):
        Manifest.from_json({**whole, **document})


def test_fields_of_later_versions_are_passed_over() -> None:
    assert Manifest.from_json({**model()[1].to_json(), "news": 1}).to_json() == model()[1].to_json()


ROWS = """town;age;income;since;extra
Aa;41;1.234,5;03.02.2001;x
never;;12,25;31/12/2010 10:30;x
;17;;;x
"Ée";60;"7";2015-05-05;x
Bb;30;n/a;soon;x
"""


@pytest.mark.parametrize("classified", [True, False])
def test_the_script_answers_like_the_library_without_it(tmp_path: Path, classified: bool) -> None:
    folder = unpacked(tmp_path, classified)
    (folder / "rows.csv").write_text(ROWS, encoding="utf-8")
    done = alone(folder, "predict.py", "rows.csv", "answers.csv")
    assert done.returncode == 0, done.stderr
    assert "extra" in done.stderr and "'soon' is not a date" in done.stderr
    found = list(csv.DictReader((folder / "answers.csv").read_text(encoding="utf-8").splitlines()))
    answers, _ = load(bundle_bytes(*model(classified))).answer(folder / "rows.csv")
    assert len(found) == len(answers) == 5
    for row, answer in zip(found, answers, strict=True):
        if classified:
            assert row["prediction"] == answer["value"]
            shares = [float(row[f"probability_{c}"]) for c in CLASSES]
            np.testing.assert_allclose(shares, list(answer["probabilities"].values()), atol=1e-6)
        else:
            assert float(row["prediction"]) == pytest.approx(answer["value"], rel=1e-6)
    printed = alone(folder, "predict.py", "rows.csv")
    assert printed.stdout == (folder / "answers.csv").read_text(encoding="utf-8")


def test_the_script_says_what_is_wrong(tmp_path: Path) -> None:
    folder = unpacked(tmp_path)
    (folder / "rows.csv").write_text("age,town\n1,Aa\n")
    done = alone(folder, "predict.py", "rows.csv")
    assert done.returncode == 1 and "'income' (number) is missing" in done.stderr
    assert alone(folder, "predict.py").returncode == 2
    assert alone(folder, "predict.py", "nowhere.csv").returncode == 1


@pytest.mark.parametrize("classified", [True, False])
def test_the_snippet_of_the_readme_runs_as_it_stands(tmp_path: Path, classified: bool) -> None:
    folder = unpacked(tmp_path, classified)
    readme = (folder / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    assert code is not None and len(code[1].splitlines()) <= 11
    done = alone(folder, "-c", code[1])
    assert done.returncode == 0, done.stderr
    answer = load(bundle_bytes(*model(classified))).predict(
        Table(
            {c: Words.of([str(v)]) if isinstance(v, str) else np.array([float(v)]) for c, v in EXAMPLES.items()}, TYPES
        )
    )[0]
    shown = repr(answer) if classified else f"{answer:.3f}"[:-1]
    assert shown in done.stdout


def test_the_readme_is_safe_from_names(tmp_path: Path) -> None:
    readme = (unpacked(tmp_path) / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("# people / '1'\n")
    assert "| `since` | datetime | 2001-02-03 00:00:00 | written as YYYY-MM-DD HH:MM:SS |" in readme


def test_weights_are_stored_as_they_are_and_trees_are_packed() -> None:
    rng = np.random.default_rng(0)
    assert _level(rng.bytes(2 << 20)) == 0
    assert _level(rng.normal(size=1 << 19).astype(np.float32).tobytes()) == 0
    assert _level(np.repeat(rng.integers(0, 50, 1 << 18), 4).astype(np.int64).tobytes()) == 1
    assert _level(b"small") == 6
