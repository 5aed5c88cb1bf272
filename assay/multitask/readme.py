"""What the bundle of a model of several targets of pictures holds besides the graph."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import assay.vision.answers
from assay.model.front import PACKAGE, moved
from assay.model.manifest import Manifest


def several_picture_files(manifest: Manifest, requirements: str) -> dict[str, bytes]:
    """Files by name, in place of those for rows.  requirements: what every bundle needs."""
    answers = Path(assay.vision.answers.__file__)
    return {
        "predict.py": moved((Path(__file__).parent / "standalone.py").read_text("utf-8")).encode(),
        f"{PACKAGE}/answers.py": moved(answers.read_text("utf-8")).encode(),
        "requirements.txt": (requirements + f"pillow=={importlib.metadata.version('pillow')}\n").encode(),
        "README.md": _readme(manifest).encode("utf-8", "replace"),
    }


def _readme(manifest: Manifest) -> str:
    targets = "".join(
        f"| {_plain(t['name'])} | {t['kind']} | {', '.join(manifest.outputs[o] for o in t['outputs'])} | "
        f"{_plain(', '.join(t['classes']))} |\n"
        for t in manifest.info["targets"]
    )
    columns = "".join(
        f"| {_plain(f['name'])} | {f['type']} | {_plain(manifest.fronts.get(f['name'], ''))} |\n"
        for f in manifest.input_schema
    )
    metrics = "".join(f"| {_plain(k)} | {v:.6g} |\n" for k, v in sorted(manifest.metrics.items()))
    return f"""# {_plain(manifest.name)}

Tells several things of pictures: {_plain(manifest.target)}.

| file | what it is |
|---|---|
| model.onnx | pixels and columns in, the answer of every target out |
| manifest.json | inputs, outputs, targets, metrics, versions |
| predict.py | picture files (or rows as JSON) in, JSON out; needs Python 3.11 and requirements.txt, not Assay |
| front/ | how predict.py reads pictures and numbers, and scales masks back |
| SHA256SUMS | `sha256sum -c SHA256SUMS` |

With Assay: `assay.load("this-file.zip").answer([{{"image": open("one.jpg", "rb").read()}}])`

From the command line: `pip install -r requirements.txt && python predict.py one.jpg two.png > answers.json`

## Targets

Outputs of the graph: `label_<i>` (string `[N]`) with `probabilities_<i>` (float32 `[N, classes]`), `value_<i>` (float32
`[N, 1]`), or `mask_<i>` (uint8, the class of every pixel of the square).

| target | kind | outputs | classes in order |
|---|---|---|---|
{targets}
## Inputs

All must be fed: columns beside the picture as float32 `[N, 1]` (NaN is missing) or string `[N, 1]` ("" is missing).

| input | type | before it enters the graph |
|---|---|---|
{columns}
## Measured on held-out pictures

| metric | value |
|---|---|
{metrics}"""


def _plain(text: object) -> str:
    return " ".join(str(text).replace("|", "/").replace("`", "'").split())
