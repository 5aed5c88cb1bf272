"""A worker's handle on one training child: start warm, ask, listen, kill as a group."""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
import signal
import tempfile
import uuid
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from workers import trainer, wire

_context = multiprocessing.get_context("forkserver")
SECRETS = ("DATABASE_URL", "REDIS_URL", "ASSAY_KEY", "ASSAY_DATABASE_URL", "ASSAY_REDIS_URL", "PGPASSWORD")


def prepare_server(preload: bool = True) -> None:
    """Start the process that children are forked from: libraries imported, no thread pool touched, no secrets known."""
    hidden = {
        k: os.environ.pop(k)
        for k in (*SECRETS, *(k for k in os.environ if "PASSWORD" in k or "SECRET" in k))
        if k in os.environ
    }
    try:
        if preload:
            _context.set_forkserver_preload(["workers.preload"])
        multiprocessing.forkserver.ensure_running()
    finally:
        os.environ.update(hidden)


class Child:
    """One training process.  Not safe for threads: it belongs to one slot."""

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads
        self.log = Path(tempfile.mkstemp(prefix="assay-trainer-", suffix=".log")[1])
        self.pipe: Connection
        self._start()

    def _start(self) -> None:
        self.pipe, theirs = _context.Pipe()
        self.process = _context.Process(
            target=trainer.main, args=(theirs, str(self.log), self.threads), daemon=True, name="assay-trainer"
        )
        self.process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        return self.process.pid or 0

    def wait_ready(self, seconds: float = 120.0) -> None:
        """Raises TimeoutError or EOFError when the child does not come up."""
        if not self.pipe.poll(seconds):
            raise TimeoutError("a training process did not start")
        wire.receive(self.pipe)

    def ask(self, do: str, **fields: Any) -> str:
        """Send a request; returns its id, which the answers carry."""
        request_id = uuid.uuid4().hex[:12]
        wire.send(self.pipe, {"do": do, "id": request_id, **fields})
        return request_id

    def stop(self, request_id: str) -> None:
        """Ask for a soft end of the request, heard at its next report."""
        wire.send(self.pipe, {"do": "stop", "id": request_id})

    def hear(self, seconds: float) -> dict[str, Any] | None:
        """The next message within so many seconds.  Raises EOFError when the child is gone."""
        return wire.receive(self.pipe) if self.pipe.poll(seconds) else None

    def resident_bytes(self) -> int:
        """Resident memory of the process; 0 where the system does not tell."""
        try:
            with open(f"/proc/{self.pid}/statm") as f:
                return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):
            return 0

    def log_tail(self, n: int = 16_384) -> str:
        """The end of what the work printed."""
        try:
            data = self.log.read_bytes()[-n:]
        except OSError:
            return ""
        return data.decode(errors="replace").replace("\x00", "")

    @property
    def exit_code(self) -> int | None:
        self.process.join(0.5)
        return self.process.exitcode

    def kill(self) -> None:
        """End the whole process group at once, grandchildren too."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self.process.kill()
        self.process.join(5)
        self.pipe.close()

    def close(self) -> None:
        self.kill()
        self.log.unlink(missing_ok=True)
