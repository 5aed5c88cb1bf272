"""`assay run`: one file in, one model out, with the search shown while it goes on."""

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from app.client import ApiError, Client

START_SECONDS = 120.0
CLASS_LIMIT = 20  # whole numbers with more distinct values than this are taken for amounts
NEED_TARGET = {"classification", "regression", "text_classification", "text_regression", "forecasting", "multitask"}
console = Console()


def run(args: argparse.Namespace) -> int:
    """The command; returns its exit code."""
    problem = missing(args)
    if problem:
        print(f"assay: {problem}", file=sys.stderr)
        return 2
    if args.file.is_dir():  # of pictures: it is sent as one zip
        with tempfile.TemporaryDirectory(prefix="assay-") as made:
            args.out = args.out or args.file.with_name(args.file.name + ".assay.zip")
            args.file = packed(args.file, Path(made) / f"{args.file.resolve().name}.zip")
            return run(args)
    if not args.file.is_file():
        print(f"assay: there is no file {args.file}", file=sys.stderr)
        return 2
    try:
        if args.url:
            return _search(Client(args.url, args.key), args)
        with private_service(args.home) as client:
            return _search(client, args)
    except ApiError as error:
        print(f"assay: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"assay: the service cannot be reached: {error}", file=sys.stderr)
        return 1


def missing(args: argparse.Namespace) -> str | None:
    """What has to be told besides, in words, before anything is uploaded; None when nothing has."""
    if args.target is None and args.task == "auto":
        return "name the column to predict by --target, or the kind of problem by --task (see `assay run --help`)"
    if args.target is None and args.task in NEED_TARGET:
        return f"{args.task} needs the column to predict: --target COLUMN"
    if args.horizon is not None and args.task != "forecasting":
        return "--horizon belongs to --task forecasting"
    return None


def packed(folder: Path, path: Path) -> Path:
    """The files of a folder as a zip, links left out."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and not file.is_symlink():
                archive.write(file, file.relative_to(folder).as_posix())
    return path


@contextmanager
def private_service(home: Path | None = None) -> Iterator[Client]:
    """A service for as long as the block runs; its folder goes with it unless one is named."""
    from app.cli import start_service

    with tempfile.TemporaryDirectory(prefix="assay-") as temporary:
        folder = home or Path(temporary) / "home"
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / "serve.log"
        port = _free_port()
        process = start_service(folder, log, port=port)
        try:
            client = Client(f"http://127.0.0.1:{port}")
            _wait_ready(client, process, log)
            yield client
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_ready(client: Client, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            client.call("GET", "/readyz", timeout=5)
            return
        except (OSError, ApiError):
            time.sleep(0.1)
    raise OSError(f"it did not start; the end of its log:\n{log.read_text(errors='replace')[-1500:]}")


def _search(client: Client, args: argparse.Namespace) -> int:
    with console.status(f"uploading {args.file.name} ({args.file.stat().st_size / 1e6:.1f} MB)"):
        dataset = client.upload(args.file)
    columns = {c["name"]: c for c in dataset["columns"]}
    console.print(f"[bold]{dataset['name']}[/]: {dataset['rows']} rows, {len(columns)} columns")
    for warning in dataset["warnings"][:8]:
        console.print(f"  [yellow]{warning['code']}[/] {warning['message']}")
    task = args.task if args.task != "auto" else infer_task(columns.get(args.target), args.metric)
    job = client.call("POST", "/v1/jobs", request_of(args, dataset["id"], task, columns))
    for reason in job["resolved"].get("because") or []:
        console.print(f"  [dim]{reason}[/]")
    job = watch(client, job["id"], args.time)
    for warning in job["warnings"][:8]:
        console.print(f"  [yellow]{warning['code']}[/] {warning['message']}")
    if job["status"] != "succeeded" or not job["best"] or not job["best"].get("model_id"):
        print(f"assay: the job {job['status']}: {(job['error'] or {}).get('message', 'no model')}", file=sys.stderr)
        return 1
    model = client.call("GET", f"/v1/models/{job['best']['model_id']}")
    out = args.out or args.file.with_name(args.file.stem.split(".")[0] + ".assay.zip")
    client.download(model["id"], out)
    shown = "  ".join(f"{k} {v:.4g}" for k, v in sorted((model["test_metrics"] or {}).items()))
    if shown:
        console.print(f"on rows that no search saw: {shown}")
    console.print(
        f"saved [bold]{out}[/] ({model['size_bytes'] / 1e6:.1f} MB).  In Python: assay.load({str(out)!r}).predict(rows)"
    )
    return 0


def request_of(args: argparse.Namespace, dataset_id: str, task: str, columns: Container[str] = ()) -> dict[str, Any]:
    """The job request for the command's options.  columns: of the dataset, whose names may hold commas."""
    limits: dict[str, Any] = {"time_seconds": args.time}
    if args.trials:
        limits["trials"] = args.trials
    search: dict[str, Any] = {"strategy": args.strategy}
    if args.families:
        search["families"] = _names(args.families)
    return {
        "dataset_id": dataset_id,
        "name": args.file.stem,
        "task": task_of(args, task, columns),
        "objective": {"metric": args.metric},
        "validation": {"seed": args.seed},
        "limits": limits,
        "search": search,
    }


def task_of(args: argparse.Namespace, task: str, columns: Container[str]) -> dict[str, Any]:
    """The request's task: its type and whatever was said of the columns."""
    named = [args.target] if args.target in columns else _names(args.target)
    said = {
        "target": named[0] if len(named) == 1 and task != "multitask" else None,
        "targets": named if len(named) > 1 or task == "multitask" else None,
        "horizon": args.horizon,
        "time_column": args.time_column,
        "group_column": args.group_column,
        "weight_column": args.weight_column,
        "positive_class": args.positive_class,
        "ignore_columns": _names(args.ignore) or None,
    }
    return {"type": task} | {name: value for name, value in said.items() if value is not None}


def _names(text: str | None) -> list[str]:
    return [] if text is None else [part.strip() for part in text.split(",") if part.strip()]


def infer_task(column: dict[str, Any] | None, metric: str) -> str:
    """Classification or regression, from the metric where one is named, else from the target's type and cardinality."""
    from assay.metrics import METRICS

    if metric in METRICS:
        return "regression" if "regression" in METRICS[metric].kinds else "classification"
    if column is None or column["type"] not in ("number", "integer", "id"):
        return "classification"
    return "classification" if column["type"] == "integer" and column["distinct"] <= CLASS_LIMIT else "regression"


def watch(client: Client, job_id: str, seconds: float) -> dict[str, Any]:
    """Show a job until it has ended; returns it."""
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), console=console)
    task = bar.add_task("waiting", total=1.0, note="")
    job: dict[str, Any] = {}
    with Live(bar, console=console, refresh_per_second=4) as live:
        for job in client.follow(job_id):
            p = job["progress"]
            trials = p["trials"]
            note = f"{p['elapsed_seconds']:.0f} of {seconds:.0f} s, {trials['completed']} trials"
            note += f", {trials['failed']} failed" if trials["failed"] else ""
            bar.update(task, completed=p["fraction"] or 0.0, description=job["phase"] or job["status"], note=note)
            board = client.call("GET", f"/v1/jobs/{job_id}/leaderboard?limit=10")["data"]
            live.update(Group(leaderboard(board, job), bar))
    if not console.is_terminal:  # there the display ends without a line's end
        console.line()
    return job


def leaderboard(rows: list[dict[str, Any]], job: dict[str, Any]) -> Table:
    """The best trials as a table for the terminal."""
    metric = (job.get("resolved") or {}).get("metric", "score")
    table = Table(box=None, pad_edge=False)
    for heading in ("", "model", metric, "±", "fit s", "found by"):
        table.add_column(heading, justify="right" if heading in ("", metric, "±", "fit s") else "left")
    for row in rows:
        value = (row["metrics"] or {}).get(metric)
        spread = row.get("score_std")
        table.add_row(
            str(row["rank"]),
            f"ensemble of {len(row['members'] or [])}" if row["is_ensemble"] else row["family"],
            "" if value is None else f"{value:.5g}",
            "" if spread is None else f"{spread:.2g}",
            "" if row["fit_seconds"] is None else f"{row['fit_seconds']:.1f}",
            row.get("optimizer") or "",
        )
    return table


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port
