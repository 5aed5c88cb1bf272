"""The worker of the embedded service: `python -m workers.embedded --home DIR`, started and watched by `assay serve`."""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
import threading
from pathlib import Path

from workers.child import prepare_server

PR_SET_PDEATHSIG = 1


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m workers.embedded", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the service's folder")
    parser.add_argument("--lane", default="cpu", choices=["cpu", "gpu"])
    parser.add_argument("--slots", type=int, default=None, help="trials side by side (default: one a core)")
    parser.add_argument("--after", type=int, help="descriptor of a pipe that is closed once the database may be used")
    args = parser.parse_args(argv)
    parent = os.getppid()
    die_with(parent)
    prepare_server()  # first of all: what the children need takes longest to import
    from app.config import Settings
    from app.db.engine import make_engine
    from app.logs import configure
    from app.queue import listen
    from app.storage import Storage
    from app.store import SqlStore
    from workers.devices import cores, memory_mb
    from workers.rows import expire_leases
    from workers.supervisor import Supervisor

    wait_for(args.after)
    settings = Settings.from_env(home=args.home)
    configure(settings.log_format, settings.log_level.upper())
    engine = make_engine(settings.database_url)
    store = SqlStore(engine)
    expire_leases(engine, args.lane)  # one worker serves a home: whatever others held, they died with it
    slots = args.slots or settings.slots or cores()
    worker = Supervisor(
        store,
        Storage(engine),
        lane=args.lane,
        slots=slots,
        cache=args.home / "cache",
        memory_mb=(settings.memory_mb or memory_mb()) // slots,
    )
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    worker.start()
    with listen(args.home, args.lane) as bell:
        while not ended.is_set() and os.getppid() == parent:
            if bell.wait(0.5):
                worker.ring()
    worker.stop()
    engine.dispose()
    return 0


def wait_for(pipe: int | None) -> None:
    """Until the other end of the pipe is closed."""
    if pipe is not None:
        os.read(pipe, 1)
        os.close(pipe)


def die_with(parent: int) -> None:
    """Ask Linux to end this process with its parent; elsewhere the parent's pid is watched."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    raise SystemExit(main())
