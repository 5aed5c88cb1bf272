"""What the bundle of a detector or segmenter holds besides the graph: the program that asks it, and how to."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from assay.model.front import PACKAGE, moved
from assay.model.manifest import Manifest


def picture_files(manifest: Manifest, requirements: str) -> dict[str, bytes]:
    """Files by name, in place of those for rows.  requirements: what every bundle needs."""
    here = Path(__file__).parent
    return {
        "predict.py": moved((here / "standalone.py").read_text("utf-8")).encode(),
        f"{PACKAGE}/answers.py": moved((here / "answers.py").read_text("utf-8")).encode(),
        "requirements.txt": (requirements + f"pillow=={importlib.metadata.version('pillow')}\n").encode(),
        "README.md": _readme(manifest).encode("utf-8", "replace"),
    }


def _readme(manifest: Manifest) -> str:
    side = manifest.info["side"]
    if manifest.kind == "detection":
        told = (
            f"`boxes` float32 `[N, M, 4]` (x0, y0, x1, y1 in pixels of the {side} x {side} square), `scores` float32 `[N, M]` "
            "and `labels` int64 `[N, M]`; what is not needed has score 0"
        )
    else:
        told = f"`mask` uint8 `[N, {side}, {side}]`, the class of every pixel of the square"
    metrics = "".join(f"| {k} | {v:.6g} |\n" for k, v in sorted(manifest.metrics.items()))
    classes = "".join(f"| {i} | {_plain(c)} |\n" for i, c in enumerate(manifest.classes))
    return f"""# {_plain(manifest.name)}

{"Finds things in pictures" if manifest.kind == "detection" else "Tells pixels of pictures apart"} ({manifest.members[0].family}).

| file | what it is |
|---|---|
| model.onnx | pixels in, answer out |
| manifest.json | input, outputs, classes, metrics, versions |
| predict.py | picture files in, JSON out; needs Python 3.11 and requirements.txt, not Assay |
| front/ | how predict.py reads pictures and scales answers back |
| SHA256SUMS | `sha256sum -c SHA256SUMS` |

With Assay: `assay.load("this-file.zip").predict([{{"image": open("one.jpg", "rb").read()}}])`

From the command line: `pip install -r requirements.txt && python predict.py one.jpg two.png > answers.json`

## The graph

Input `image`, uint8 `[N, {side}, {side}, 3]`: {manifest.fronts["image"]}.

Answers: {told}.

| code | class |
|---|---|
{classes}
## Measured on held-out pictures

| metric | value |
|---|---|
{metrics}"""


def _plain(text: object) -> str:
    return " ".join(str(text).replace("|", "/").replace("`", "'").split())
