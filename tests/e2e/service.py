"""A whole service in real processes, driven through its public API alone."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from app.client import ApiError, Client
from tests.plugin import write_plugin

START = 90.0


_shared: list[Service] = []


@contextmanager
def processes(
    folder: Path,
    environment: Mapping[str, str] | None = None,
    workers: int = 0,
    *,
    alone: bool = False,
    toys: bool = True,
) -> Iterator[Service]:
    """`assay serve` (and `assay worker`s, when the environment names Postgres and Redis), with the toy families where `toys`.

    The embedded service is started once and shared by all tests of a run, since a start costs many seconds; a test that
    kills or stops it asks for one `alone`.
    """
    if environment is None and not alone:
        if not _shared:
            shared = Service(Path(tempfile.mkdtemp(prefix="assay-e2e-")), {}, 0)
            _shared.append(shared)
            shared.start()
        _shared[0].wait_ready()
        yield _shared[0]
        return
    service = Service(folder, environment or {}, workers, toys)
    try:
        service.start()
        yield service
    finally:
        service.stop()


def stop_shared() -> None:
    """End the service that the tests shared, if there is one."""
    while _shared:
        service = _shared.pop()
        try:
            service.stop()
        finally:
            shutil.rmtree(service.folder, ignore_errors=True)


class Service:
    """Processes of one deployment; killable one by one."""

    def __init__(self, folder: Path, environment: Mapping[str, str], workers: int, toys: bool = True) -> None:
        self.folder = folder
        clean = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL")}
        plugins = [str(write_plugin(folder / "toys"))] if toys else []
        paths = [*plugins, *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment = {**clean, "PYTHONPATH": os.pathsep.join(paths), **environment}
        self.n_workers = workers
        self.port = _free_port()
        self.client = Client(f"http://127.0.0.1:{self.port}")
        self.serve: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        home = str(self.folder / "home")
        self.serve = self._spawn("serve", "--home", home, "--port", str(self.port))
        self.wait_ready()
        for i in range(self.n_workers):
            self.workers.append(self._spawn("worker", "--home", str(self.folder / f"worker-{i}"), "--slots", "1"))
        if self.n_workers:
            self.wait_workers(self.n_workers)

    def stop(self) -> None:
        for process in [self.serve, *self.workers]:
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGINT if process is self.serve else signal.SIGTERM)
        for process in [self.serve, *self.workers]:
            if process is not None:
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    raise AssertionError(f"a process did not stop:\n{self.log()[-3000:]}") from None

    def wait_ready(self) -> None:
        until = time.monotonic() + START
        while time.monotonic() < until:
            try:
                self.client.call("GET", "/readyz", timeout=5)
                return
            except (OSError, ApiError):
                assert self.serve is not None and self.serve.poll() is None, self.log()[-3000:]
                time.sleep(0.1)
        raise AssertionError(f"the service did not become ready:\n{self.log()[-3000:]}")

    def wait_workers(self, n: int) -> None:
        until = time.monotonic() + START
        while time.monotonic() < until:
            if len(self.client.call("GET", "/v1/system")["workers"]) >= n:
                return
            time.sleep(0.2)
        raise AssertionError(f"{n} workers did not appear:\n{self.log()[-3000:]}")

    def pids(self, part: str) -> list[int]:
        """Processes of this deployment whose command line has a part."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                mine = str(self.folder).encode() in (entry / "environ").read_bytes()
            except OSError:
                continue
            if part in command and mine:
                found.append(int(entry.name))
        return found

    def log(self) -> str:
        return "\n".join(f.read_text(errors="replace") for f in sorted(self.folder.glob("*.log")))

    def wait(self, job: str, seconds: float, *until: str) -> dict[str, Any]:
        """The job once it has ended (or reached one of the statuses)."""
        ends = until or ("succeeded", "failed", "cancelled")
        deadline = time.monotonic() + seconds
        while True:
            try:
                found: dict[str, Any] = self.client.call("GET", f"/v1/jobs/{job}?wait=2")
                if found["status"] in ends:
                    return found
            except OSError:
                time.sleep(0.2)
                found = {"status": "unreachable"}
            if time.monotonic() > deadline:
                raise AssertionError(f"job still {found['status']}: {found}\n{self.log()[-4000:]}")

    def submit(self, dataset: str, task: Mapping[str, Any], seconds: float = 20, **parts: Any) -> dict[str, Any]:
        limits = {"time_seconds": seconds, **parts.pop("limits", {})}
        body = {"dataset_id": dataset, "task": dict(task), "limits": limits, **parts}
        job: dict[str, Any] = self.client.call("POST", "/v1/jobs", body)
        return job

    def _spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        name = f"{arguments[0]}-{len(list(self.folder.glob('*.log')))}.log"
        with (self.folder / name).open("wb") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "app.cli", *arguments],
                env=self.environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip


def mixed_csv(path: Path, n: int = 400, seed: int = 0, target: bool = True) -> Path:
    """A table with numbers, categories, a date, missing cells, and a target that depends on them."""
    rng = np.random.default_rng(seed)
    income, age = rng.lognormal(3, 0.5, n), rng.integers(18, 80, n)
    town = rng.choice(["Oslo", "Łódź", "São Paulo", "Oulu"], n)
    day = np.datetime64("2024-01-01") + rng.integers(0, 700, n)
    z = 0.05 * (age - 45) + np.log(income) - 3 + np.where(town == "Oslo", 1.0, 0.0) + rng.normal(0, 0.7, n)
    lines = ["income,age,town,joined" + (",bought" if target else "")]
    for i in range(n):
        cells = [
            f"{income[i]:.2f}" if rng.random() > 0.1 else "",
            str(age[i]),
            town[i] if rng.random() > 0.05 else "",
            str(day[i]),
        ]
        lines.append(",".join(cells + (["yes" if z[i] > 0 else "no"] if target else [])))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port
