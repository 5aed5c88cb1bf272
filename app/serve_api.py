"""The API process: uvicorn on a socket that `assay serve` bound."""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import signal
import socket
import sys
import threading
import time

gc.disable()  # until all is imported: looking through ever more objects, none of them garbage, took a fifth of the start
import uvicorn  # noqa: E402

from app.config import Settings  # noqa: E402
from app.main import create_app  # noqa: E402

PR_SET_PDEATHSIG = 1
SHUTDOWN = 3  # seconds open streams get; without it an open event stream would hold the process for ever


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m app.serve_api", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the listening socket")
    parser.add_argument("--after", type=int, help="descriptor of a pipe that is closed once the database may be used")
    args = parser.parse_args(argv)
    _die_with(os.getppid())
    settings = Settings.from_env()
    app = create_app(settings)
    threading.Thread(target=_collect_again, args=(app.state.services.warmed,), daemon=True).start()
    if args.after is not None:
        os.read(args.after, 1)
        os.close(args.after)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN,
        timeout_keep_alive=75,
        root_path=settings.root_path,
        server_header=False,
        proxy_headers=False,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=args.fd)])
    return 0


def _collect_again(warmed: threading.Event) -> None:
    warmed.wait()
    gc.freeze()
    gc.enable()


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    raise SystemExit(main())
