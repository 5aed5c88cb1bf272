"""`assay serve`: a small parent that owns the socket and keeps an API and a worker alive under one folder.

Either child may die by any means; it is back within about a second on the same port.  When the parent ends, both end.
"""

from __future__ import annotations

import functools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from app.config import Settings

BACKOFF = 0.5  # seconds before a child that died is started again
TOO_OFTEN = (8, 60.0)  # so many deaths in so many seconds mean that it will not come up
GRACE = 20.0  # seconds a child gets to end


@dataclass
class Process:
    """A child that must be there."""

    name: str
    command: list[str]
    environment: dict[str, str]
    pass_fds: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    deaths: list[float] = field(default_factory=list)

    def start(self, after: int | None = None) -> None:
        """after: a pipe that the child reads to its end before it uses the database."""
        command, passed = list(self.command), self.pass_fds
        if after is not None:
            command, passed = [*command, "--after", str(after)], (*passed, after)
        # a session of its own: Ctrl-C in the terminal reaches the parent alone, which ends its children in order
        self.process = subprocess.Popen(command, env=self.environment, pass_fds=passed, start_new_session=True)

    def died(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def hopeless(self) -> bool:
        now = time.monotonic()
        self.deaths = [t for t in self.deaths if now - t < TOO_OFTEN[1]] + [now]
        return len(self.deaths) >= TOO_OFTEN[0]

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()

    def wait(self, seconds: float) -> None:
        if self.process is None:
            return
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def serve(settings: Settings, *, api_only: bool = False) -> int:
    """Run until SIGINT or SIGTERM.  Returns the exit code."""
    settings.home.mkdir(parents=True, exist_ok=True)
    lock = _lock(settings.home) if settings.embedded else None
    listener = _listen(settings)
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "1", "ASSAY_HOME": str(settings.home)}
    environment |= {
        "ASSAY_HOST": settings.host,
        "ASSAY_PORT": str(settings.port),
        "ASSAY_ROOT_PATH": settings.root_path,
    }
    environment |= {"ASSAY_AUTH": "1" if settings.auth else "0"}
    if api_only:
        environment["ASSAY_LANES"] = "none"
    children = [
        Process(
            "api",
            [sys.executable, "-m", "app.serve_api", "--fd", str(listener.fileno())],
            environment,
            (listener.fileno(),),
        )
    ]
    if not api_only and settings.redis_url is None:
        command = [sys.executable, "-m", "workers.embedded", "--home", str(settings.home)]
        children += [Process(f"worker-{lane}", [*command, "--lane", lane], environment) for lane in settings.lanes]
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    _start(reversed(children), functools.partial(_migrate, settings.database_url))  # what takes longest first
    host, port = listener.getsockname()[:2]
    print(f"Assay is starting at http://{host}:{port}  (docs: /docs, data: {settings.home}, stop: Ctrl-C)", flush=True)
    code = 0
    while not stopping:
        time.sleep(0.1)
        for child in children:
            if child.died() and not stopping:
                print(
                    f"assay: {child.name} ended with {child.process.returncode if child.process else '?'}; starting it again",
                    file=sys.stderr,
                )
                if child.hopeless():
                    print(f"assay: {child.name} does not stay up; giving up", file=sys.stderr)
                    stopping, code = True, 1
                    break
                time.sleep(BACKOFF)
                child.start()
    for child in children:
        child.stop()
    until = time.monotonic() + GRACE
    for child in children:
        child.wait(max(0.1, until - time.monotonic()))
    listener.close()
    if lock is not None:
        lock.close()
    return code


def _migrate(url: str) -> None:
    from app.db.engine import migrate  # heavy, and needed only while the others import, too

    migrate(url)


def _start(children: Iterable[Process], prepare: Callable[[], None]) -> None:
    """Start the children, prepare the database while they import, then let them use it."""
    reads, writes = os.pipe()
    started: list[Process] = []
    try:
        for child in children:
            child.start(after=reads)
            started.append(child)
        prepare()
    except BaseException:
        for child in started:
            child.stop()
            child.wait(GRACE)
        raise
    finally:
        os.close(writes)
        os.close(reads)


def _listen(settings: Settings) -> socket.socket:
    """The bound socket; children inherit it, so the port stays ours while one of them restarts."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=512)
    except OSError as error:
        raise SystemExit(
            f"assay: cannot listen on {settings.host}:{settings.port}: {error.strerror}; choose another --port"
        ) from None
    listener.set_inheritable(True)
    return listener


def _lock(home: Path) -> _Lock:
    """One service a folder: two would each believe that the other's workers are dead."""
    return _Lock(home / "serve.lock")


class _Lock:
    def __init__(self, path: Path) -> None:
        import fcntl

        self._file = path.open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SystemExit(f"assay: another service already runs in {path.parent}; choose another --home") from None
        self._file.write(str(os.getpid()))
        self._file.flush()

    def close(self) -> None:
        self._file.close()
