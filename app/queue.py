"""Doorbells: how workers are told that there may be work.  A ring carries nothing, and a lost one costs one sweep."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from app.config import Settings

KEY_PREFIX = "assay:"  # of every key in a shared broker
TASK = "assay.wake"
log = logging.getLogger(__name__)


class Doorbell(Protocol):
    """Rings the workers of a lane.  Never raises, never waits long."""

    def ring(self, lane: str) -> None: ...

    def close(self) -> None: ...


class NoBell:
    """Nobody to ring: workers sweep by themselves."""

    def ring(self, lane: str) -> None:
        return None

    def close(self) -> None:
        return None


class LocalBell:
    """A byte to the worker on this machine, through a socket in the service's folder."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def ring(self, lane: str) -> None:
        # no worker listens yet, or its inbox is full of rings: both are fine
        with contextlib.suppress(OSError):
            self._socket.sendto(b"!", _address(self._home, lane))

    def close(self) -> None:
        self._socket.close()


class CeleryBell:
    """A message to every worker of a lane, through the broker at redis_url."""

    def __init__(self, redis_url: str) -> None:
        from celery import Celery

        self._queues = {queue.alias: queue for queue in lane_queues()}
        self._app = Celery("assay", broker=redis_url)
        self._app.conf.update(
            task_ignore_result=True,
            broker_connection_timeout=1,
            broker_transport_options={
                "global_keyprefix": KEY_PREFIX,
                "socket_connect_timeout": 1,
                "socket_timeout": 1,
                "max_retries": 0,
            },
        )

    def ring(self, lane: str) -> None:
        try:
            queue = self._queues[lane]
            # declared with each message: a publisher that does not know a fanout would fill lists nobody reads
            self._app.send_task(
                TASK, queue=queue, declare=[queue.exchange], retry=False, ignore_result=True, expires=60
            )
        except Exception as error:  # the broker is away: the workers' sweep finds the work all the same
            log.warning("the broker could not be reached (%s); workers will find the work by themselves", error)

    def close(self) -> None:
        self._app.close()


def lane_queues() -> list[Any]:
    """The broker's queues.  What goes to one is heard by all workers of the lane: there may be work for several."""
    from kombu.common import Broadcast

    return [Broadcast(lane, routing_key=lane) for lane in ("cpu", "gpu")]


class Ear:
    """The worker's side of a LocalBell."""

    def __init__(self, inbox: socket.socket) -> None:
        self._inbox = inbox

    def wait(self, timeout: float) -> bool:
        """Whether somebody rang within so many seconds; rings that came together count once."""
        ready, _, _ = select.select([self._inbox], [], [], timeout)
        if not ready:
            return False
        with contextlib.suppress(BlockingIOError):
            while True:
                self._inbox.recv(64)
        return True


@contextmanager
def listen(home: Path, lane: str) -> Iterator[Ear]:
    """Listen for rings of a lane.  The newest listener of a folder gets them."""
    path = Path(_address(home, lane))
    path.unlink(missing_ok=True)
    inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        inbox.bind(str(path))
        inbox.setblocking(False)
        yield Ear(inbox)
    finally:
        inbox.close()
        path.unlink(missing_ok=True)


def make_bell(settings: Settings) -> Doorbell:
    """The bell that fits how the service runs."""
    if settings.redis_url is not None:
        return CeleryBell(settings.redis_url)
    return LocalBell(settings.home) if settings.embedded else NoBell()


def _address(home: Path, lane: str) -> str:
    """The socket's path; in the system's short folder when the service's own is too long for one (107 bytes)."""
    import hashlib
    import tempfile

    path = home.absolute() / f"bell-{lane}.sock"
    if len(bytes(path)) <= 100:
        return str(path)
    short = hashlib.sha256(bytes(home.absolute())).hexdigest()[:16]
    return str(Path(tempfile.gettempdir()) / f"assay-{short}-{lane}.sock")


def worker_options() -> dict[str, Any]:
    """Broker options of a worker: a message it took and did not finish comes back within seconds of its death."""
    return {
        "visibility_timeout": 900,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "global_keyprefix": KEY_PREFIX,
        "socket_keepalive": True,
    }
