"""What a forecaster's bundle holds besides the graph: the program that reads a history and forecasts, and how to."""

from __future__ import annotations

from pathlib import Path

from assay.model.front import PACKAGE, moved
from assay.model.manifest import Manifest

_MODULES = ("stamps", "panel", "serve")


def forecaster_files(manifest: Manifest) -> dict[str, bytes]:
    """By file name: `predict.py`, README.md, and modules for the bundle's package `front`."""
    here = Path(__file__).parent
    files = {f"{PACKAGE}/{m}.py": moved((here / f"{m}.py").read_text("utf-8")).encode() for m in _MODULES}
    files["predict.py"] = moved((here / "standalone.py").read_text("utf-8")).encode()
    files["README.md"] = _readme(manifest).encode("utf-8", "replace")
    return files


def _readme(manifest: Manifest) -> str:
    facts = manifest.info["forecasting"]
    metrics = "".join(
        f"| {k} | {v:.6g} | {_number(manifest.test_metrics.get(k))} |\n" for k, v in manifest.metrics.items()
    )
    members = "".join(f"| {m.trial} | {m.family} | {m.weight:.3f} |\n" for m in manifest.members)
    columns = "".join(
        f"| `{_plain(f['name'])}` | {f['type']} | {_plain(f.get('example'))} |\n" for f in manifest.input_schema
    )
    return f"""# {_plain(manifest.name)}

Forecasts `{_plain(manifest.target)}`, {facts["horizon"]} steps ahead ({facts["calendar"]["name"]}), for {len(facts["series"])}
series.

| file | what it is |
|---|---|
| model.onnx | the whole ensemble: the last {facts["width"]} values of a series in, points and quantiles out |
| manifest.json | calendar, series, levels of the quantiles, metrics, members, versions |
| predict.py | history csv in, forecast csv out; needs Python 3.11 and requirements.txt, not Assay |
| front/ | how predict.py reads rows, sorts them into series and fills gaps |
| SHA256SUMS | `sha256sum -c SHA256SUMS` |

With Assay: `assay.load("this-file.zip").answer(rows)`; no rows at all ask for the forecast after the training data.

From the command line: `pip install -r requirements.txt && python predict.py history.csv forecast.csv`

## The graph

Inputs: `series` int64 `[N]`, the position in `info.forecasting.series` (-1: a series that was not there in training), and
`window` float32 `[N, {facts["width"]}]`, the last values, oldest first, without gaps.  Outputs: `value` float32
`[N, {facts["horizon"]}]` and `quantiles` float32 `[N, {facts["horizon"]}, {len(facts["levels"])}]` at the levels
{", ".join(f"{v:g}" for v in facts["levels"])}.

## Rows of a history

| column | type | example |
|---|---|---|
{columns}
## Measured

| metric | backtests | test |
|---|---|---|
{metrics}
## Members

| trial | family | weight |
|---|---|---|
{members}"""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _plain(text: object) -> str:
    return " ".join(str("" if text is None else text).replace("|", "/").replace("`", "'").split())
