"""What the service itself costs: trials of no work per second, and reading a job against a bare read of one row.

    python -m benchmarks.service                 both, embedded and on Postgres + Redis; writes benchmarks/results/

Each figure is the median of its runs with their range.  The bare endpoint is a `def` endpoint of FastAPI that reads the
same row by its primary key through SQLAlchemy, in the same process, on the same database, called in turns with the real one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
TRIALS = 200
SECONDS = 2.0  # of load per run of an endpoint
RUNS = 5
CLIENTS = 8


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--only", choices=["trials", "reads"])
    parser.add_argument("--no-postgres", action="store_true")
    args = parser.parse_args(argv)
    found: dict[str, Any] = {"machine": _machine(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    if args.only != "reads":
        found["trials"] = {"embedded, 2 slots": throughput(args.trials, args.runs)}
        if not args.no_postgres:
            with servers() as environment:
                found["trials"]["postgres + redis, 2 workers"] = throughput(
                    args.trials, args.runs, environment, workers=2
                )
    if args.only != "trials":
        found["reads"] = {"sqlite": reads(args.runs)}
        if not args.no_postgres:
            with servers() as environment:
                found["reads"]["postgres"] = reads(args.runs, environment["DATABASE_URL"])
    RESULTS.mkdir(exist_ok=True)
    out = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-service.md"
    out.write_text(_report(found))
    print(out.read_text())
    return 0


def servers() -> Any:
    """A context with the environment of private Postgres and Redis servers."""
    from contextlib import contextmanager

    from tests.services import postgres, redis

    @contextmanager
    def both() -> Any:
        with postgres() as database, redis() as broker:
            yield {"DATABASE_URL": database, "REDIS_URL": broker}

    return both()


def throughput(trials: int, runs: int, environment: Mapping[str, str] | None = None, workers: int = 0) -> list[float]:
    """Trials of no work per second, from the first trial's start to the last one's end, as the rows tell."""
    from tests.e2e.service import mixed_csv, processes

    rates = []
    with (
        tempfile.TemporaryDirectory(prefix="assay-bench-") as folder,
        processes(Path(folder), environment, workers, alone=True) as service,
    ):
        data = service.client.upload(mixed_csv(Path(folder) / "train.csv", n=200))
        for seed in range(runs):
            job = service.submit(
                data["id"],
                {"type": "classification", "target": "bought"},
                seconds=600,
                limits={"trials": trials},
                search={"strategy": "random", "families": ["zero_work"], "ensemble": False},
                validation={"seed": seed, "method": "holdout"},
            )
            service.wait(job["id"], 600)
            rows = _all(service.client, f"/v1/jobs/{job['id']}/trials")
            times = [(_time(r["started_at"]), _time(r["finished_at"])) for r in rows if r["status"] == "completed"]
            rates.append(len(times) / (max(t for _, t in times) - min(t for t, _ in times)))
    return rates


def reads(runs: int, database_url: str | None = None) -> dict[str, list[float]]:
    """Requests per second of GET /v1/jobs/{id} and of the bare endpoint, in turns."""
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as folder:
        process, port, job = _serve_both(Path(folder), database_url)
        try:
            paths = {"job": f"/v1/jobs/{job}", "bare": f"/bare/{job}"}
            found: dict[str, list[float]] = {name: [] for name in paths}
            for path in paths.values():
                _load(port, path, 0.5)
            for _ in range(runs):
                for name, path in paths.items():
                    found[name].append(_load(port, path, SECONDS))
            return found
        finally:
            process.terminate()
            process.wait(20)


def bare_app() -> Any:
    """The real application with one more route: the least that reads a row by its primary key."""
    from fastapi import FastAPI
    from sqlalchemy import select

    from app.config import Settings
    from app.db.engine import make_engine
    from app.db.tables import JobRow
    from app.main import create_app

    settings = Settings.from_env()
    engine = make_engine(settings.database_url)
    bare = FastAPI()

    @bare.get("/bare/{job}")
    def read(job: str) -> dict[str, Any]:
        with engine.connect() as connection:
            row = connection.execute(select(JobRow.__table__).where(JobRow.id == job)).one()
            return {"id": row.id, "status": row.status, "name": row.name}

    real = create_app(settings)

    async def both(scope: Any, receive: Any, send: Any) -> None:
        chosen = bare if scope["type"] == "http" and scope["path"].startswith("/bare/") else real
        await chosen(scope, receive, send)

    return both


def _serve_both(folder: Path, database_url: str | None) -> tuple[Any, int, str]:
    import subprocess

    from app.client import Client
    from app.db.engine import make_engine, migrate
    from app.store import SqlStore
    from assay.search.plan import Limits
    from tests.e2e.service import _free_port

    url = database_url or f"sqlite:///{folder / 'assay.db'}"
    migrate(url)
    store = SqlStore(make_engine(url))
    job = _insert_job(store, Limits())
    port = _free_port()
    environment = {**os.environ, "ASSAY_DATABASE_URL": url, "ASSAY_HOME": str(folder), "ASSAY_LOG_LEVEL": "warning"}
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "benchmarks.service:bare_app",
        "--factory",
        "--port",
        str(port),
        "--no-access-log",
        "--log-level",
        "warning",
    ]
    process = subprocess.Popen(command, env=environment)
    client = Client(f"http://127.0.0.1:{port}")
    for _ in range(300):
        try:
            client.call("GET", f"/v1/jobs/{job}")
            client.call("GET", f"/bare/{job}")
            return process, port, job
        except OSError:
            time.sleep(0.1)
    process.kill()
    raise RuntimeError("the server did not come up")


def _insert_job(store: Any, limits: Any) -> str:
    from app.clock import utc_now
    from app.db.engine import session
    from app.db.tables import DatasetRow
    from app.ids import new_id

    dataset = new_id("ds")
    now = utc_now()
    with session(store.engine) as s:
        s.add(
            DatasetRow(
                id=dataset,
                owner="local",
                name="bench",
                status="ready",
                kind="table",
                rows=100,
                created_at=now,
                updated_at=now,
            )
        )
    resolved = {
        "task": "classification",
        "kind": "binary",
        "target": "y",
        "metric": "roc_auc",
        "greater_is_better": True,
        "strategy": "auto",
    }
    job: str = store.create_job(
        owner="local",
        name="bench",
        dataset_id=dataset,
        request={"dataset_id": dataset},
        resolved=resolved,
        spaces={},
        limits=limits,
    )
    return job


def _load(port: int, path: str, seconds: float) -> float:
    """Requests per second over keep-alive connections from one client process."""
    code = (
        "import http.client, sys, threading, time\n"
        "port, path, seconds, clients = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])\n"
        "done = []\n"
        "def run():\n"
        "    c = http.client.HTTPConnection('127.0.0.1', port); n = 0; end = time.perf_counter() + seconds\n"
        "    while time.perf_counter() < end:\n"
        "        c.request('GET', path); r = c.getresponse(); r.read(); assert r.status == 200, r.status; n += 1\n"
        "    done.append(n)\n"
        "ts = [threading.Thread(target=run) for _ in range(clients)]\n"
        "t = time.perf_counter(); [x.start() for x in ts]; [x.join() for x in ts]\n"
        "assert len(done) == clients; print(sum(done) / (time.perf_counter() - t))\n"
    )
    import subprocess

    out = subprocess.run(
        [sys.executable, "-c", code, str(port), path, str(seconds), str(CLIENTS)],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(out.stdout)


def _all(client: Any, path: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    after = ""
    while True:
        page = client.call("GET", f"{path}?limit=100{after}")
        rows += page["data"]
        if not page["has_more"]:
            return rows
        after = f"&after={page['next_after']}"


def _time(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def _report(found: Mapping[str, Any]) -> str:
    lines = [f"# What the service costs, {found['at']}", "", f"{found['machine']}.  Median [smallest, largest].", ""]

    def figure(v: list[float]) -> str:
        return f"{statistics.median(v):.1f} [{min(v):.1f}, {max(v):.1f}]"

    if "trials" in found:
        lines += ["| trials of no work | per second |", "|---|---|"]
        lines += [f"| {name} | {figure(values)} |" for name, values in found["trials"].items()] + [""]
    if "reads" in found:
        lines += [
            "| one row by its primary key | GET /v1/jobs/{id}, 1/s | bare endpoint, 1/s | ratio, pair by pair |",
            "|---|---|---|---|",
        ]
        for name, r in found["reads"].items():
            ratios = [a / b for a, b in zip(r["job"], r["bare"], strict=True)]
            spread = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
            lines.append(f"| {name} | {figure(r['job'])} | {figure(r['bare'])} | {spread} |")
    return (
        "\n".join(lines)
        + "\n\nRaw: `"
        + json.dumps({k: v for k, v in found.items() if k in ("trials", "reads")})
        + "`\n"
    )


if __name__ == "__main__":
    raise SystemExit(main())
