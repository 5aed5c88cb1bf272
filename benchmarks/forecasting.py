"""Forecasts of held out horizons beside seasonal naive, AutoETS and AutoARIMA of statsforecast, as MASE.

    python -m benchmarks.forecasting FOLDER --out rows.json [--trials 8 | --seconds 60] [--peers]

FOLDER holds csv files of one series each, `time` and `y`, and `horizons.json`: {"name": [season, horizon]}.  The last
horizon of every series is held out; the scale is the mean seasonal change of what comes before.  Peers need
`pip install statsforecast`, perhaps in an environment of its own: run once with --peers there, once without here, with
the same --out.  Nothing of the held out part is seen by any of them.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=None)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--peers", action="store_true")
    asked = parser.parse_args()
    found: dict[str, Any] = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    for name, (season, horizon) in json.loads((asked.folder / "horizons.json").read_text()).items():
        with (asked.folder / f"{name}.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        y = np.array([float(r["y"]) for r in rows])
        known, future = y[:-horizon], y[-horizon:]
        step = season if len(known) > season else 1
        scale = float(np.abs(known[step:] - known[:-step]).mean())
        one = found.setdefault(name, {"season": season, "horizon": horizon, "values": len(y)})
        began = time.monotonic()
        forecasts = _peers(known, season, horizon) if asked.peers else _assay(rows[:-horizon], horizon, asked)
        for who, forecast in forecasts.items():
            one[who] = float(np.abs(forecast - future).mean() / scale)
        one["seconds of peers" if asked.peers else "seconds"] = round(time.monotonic() - began, 1)
        print(name, one, flush=True)
        asked.out.write_text(json.dumps(found, indent=1))
    print(table(found))


def _assay(rows: list[dict[str, str]], horizon: int, asked: argparse.Namespace) -> dict[str, np.ndarray]:
    import assay

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "series.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            out = csv.DictWriter(file, ["time", "y"])
            out.writeheader()
            out.writerows(rows)
        model = assay.fit(
            path,
            "y",
            task="forecasting",
            time_column="time",
            horizon=horizon,
            trials=asked.trials,
            seconds=asked.seconds,
        )
    return {"assay": np.array(model.predict([]), float)}


def _peers(known: np.ndarray, season: int, horizon: int) -> dict[str, np.ndarray]:
    from statsforecast.models import AutoARIMA, AutoETS, SeasonalNaive  # type: ignore[import-not-found]

    models = {"seasonal naive": SeasonalNaive, "auto ets": AutoETS, "auto arima": AutoARIMA}
    return {n: m(season_length=season).forecast(y=known, h=horizon)["mean"] for n, m in models.items()}


def table(found: dict[str, Any]) -> str:
    """Rows of MASE, and how often the first column is at least as good as each of the others."""
    names = ["assay", "seasonal naive", "auto ets", "auto arima"]
    whole = {k: v for k, v in found.items() if all(n in v for n in names)}
    lines = [f"| series | values | season | horizon | {' | '.join(names)} |", "|---|" + "---:|" * 7]
    for name, one in whole.items():
        lines.append(
            f"| {name} | {one['values']} | {one['season']} | {one['horizon']} | "
            + " | ".join(f"{one[n]:.3f}" for n in names) + " |"
        )  # fmt: skip
    scores = np.array([[one[n] for n in names] for one in whole.values()])
    if len(scores):
        middle = np.exp(np.log(np.maximum(scores, 1e-3)).mean(0))
        lines.append("| geometric mean | | | | " + " | ".join(f"{v:.3f}" for v in middle) + " |")
        wins = (scores[:, :1] <= scores).mean(0)
        lines.append("| Assay at least as good | | | | | " + " | ".join(f"{v:.0%}" for v in wins[1:]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
