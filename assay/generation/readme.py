"""What a generator's bundle holds besides the graph: the program that draws from it, and how to."""

from __future__ import annotations

from pathlib import Path

from assay.model.manifest import Manifest


def generator_files(manifest: Manifest) -> dict[str, bytes]:
    """`generate.py` and README.md by file name."""
    program = (Path(__file__).parent / "draw.py").read_text("utf-8")
    return {"generate.py": program.encode(), "README.md": _readme(manifest).encode("utf-8", "replace")}


def _readme(manifest: Manifest) -> str:
    spec = manifest.info["generation"]
    rows = spec["data"] == "rows"
    condition = spec["condition"]
    asked = ""
    if condition:
        value = next(iter(condition["values"]))
        asked = f' --set "{_plain(condition["column"])}={_plain(value)}"'
    metrics = "".join(f"| {k} | {v:.6g} |\n" for k, v in sorted(manifest.metrics.items()))
    inputs = "".join(
        f"| `{i['name']}` | {_INPUTS[kind].format(**{'width': '', **i})} |\n" for kind, i in spec["inputs"].items()
    )
    loop = spec["loop"]
    looped = (
        f"\nThe graph draws one value of a picture; run it {loop['steps']} times with `{loop['at']}` = 0, 1, 2, ... and\n"
        f"`{loop['next']}` fed back as `{loop['image']}` (zeros at first).  `image` of the last run is the picture.\n"
        if loop
        else ""
    )
    answers = "one output a column: float32 `[N, 1]` or string `[N]`" if rows else "`image`, uint8 `[N, S, S, 3]`"
    file = "samples.csv" if rows else "pictures.npy"
    draws = "sample.rows()" if rows else "sample.images"
    return f"""# {_plain(manifest.name)}

Draws {"rows" if rows else "pictures"} like the ones it was made from ({manifest.members[0].family}).

| file | what it is |
|---|---|
| model.onnx | the generator: random numbers in, samples out |
| manifest.json | inputs, columns, condition, loop, metrics, versions |
| generate.py | draws samples; needs Python 3.11 and requirements.txt, not Assay |
| SHA256SUMS | `sha256sum -c SHA256SUMS` |

With Assay: `sample = assay.load("this-file.zip").generate(100, seed=0); {draws}`

From the command line: `pip install -r requirements.txt && python generate.py 100 {file} --seed 0{asked}`

## The graph

| input | what it is |
|---|---|
{inputs}
Answers: {answers}.  The same random numbers give the same samples, in every runtime.
{looped}
## Measured on held-out data

| metric | value |
|---|---|
{metrics}"""


_INPUTS = {
    "noise": "float32 `[N, {width}]`, standard normal numbers",
    "uniform": "float32 `[N, {width}]`, uniform numbers in [0, 1)",
    "given": "int64 `[N]`, the code of the condition (`info.generation.condition.values`), -1 for none",
}


def _plain(text: object) -> str:
    return " ".join(str(text).replace("|", "/").replace("`", "'").replace('"', "'").split())
