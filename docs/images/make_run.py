"""Draws docs/images/run.svg from a real run: `python docs/images/make_run.py` (half a minute)."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from rich.console import Console

from app.demo import write_tables
from app.run import leaderboard, private_service, request_of

SECONDS = 20.0


def main() -> None:
    console = Console(record=True, width=84)
    with tempfile.TemporaryDirectory() as folder, private_service(Path(folder) / "home") as client:
        train, _, _ = write_tables(Path(folder))
        dataset = client.upload(train)
        args = argparse.Namespace(
            file=train,
            target="diagnosis",
            metric="auto",
            time=SECONDS,
            trials=None,
            strategy="auto",
            families=None,
            seed=0,
        )
        job = client.call("POST", "/v1/jobs", request_of(args, dataset["id"], "classification"))
        console.print(f"$ assay run train.csv --target diagnosis --time {SECONDS:.0f}")
        console.print(f"[bold]train.csv[/]: {dataset['rows']} rows, {len(dataset['columns'])} columns")
        for reason in job["resolved"]["because"]:
            console.print(f"  [dim]{reason}[/]")
        *_, job = client.follow(job["id"])
        console.print(leaderboard(client.call("GET", f"/v1/jobs/{job['id']}/leaderboard?limit=10")["data"], job))
        model = client.call("GET", f"/v1/models/{job['best']['model_id']}")
        shown = "  ".join(f"{k} {v:.4g}" for k, v in sorted(model["test_metrics"].items())[:5])
        console.print(f"on rows that no search saw: {shown}")
        console.print(f"saved [bold]train.assay.zip[/] ({model['size_bytes'] / 1e6:.1f} MB)")
    console.save_svg(str(Path(__file__).parent / "run.svg"), title="assay run")


if __name__ == "__main__":
    main()
