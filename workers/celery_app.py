"""The Celery application of the distributed mode.  Its one task rings the supervisor that lives in the worker process."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

from celery import Celery, signals

from app.config import Settings
from app.db.engine import make_engine
from app.logs import configure
from app.queue import TASK, CeleryBell, lane_queues, worker_options
from app.storage import Storage
from app.store import SqlStore
from workers import entrypoints
from workers.devices import cores, memory_mb
from workers.supervisor import Supervisor


def make_app(settings: Settings) -> Celery:
    """A broker connection with the measured settings: nothing is lost that a sweep would not find again."""
    app = Celery("assay", broker=settings.redis_url)
    app.conf.update(
        task_queues=lane_queues(),
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        task_default_delivery_mode=1,
        worker_send_task_events=False,
        broker_transport_options=worker_options(),
    )
    return app


settings = Settings.from_env()
app = make_app(settings)
_worker: Supervisor | None = None


@app.task(name=TASK)
def wake() -> None:
    """There may be work; the rows say which."""
    entrypoints.wake(_worker)


@signals.worker_ready.connect
def _start(**_: Any) -> None:
    global _worker
    configure(settings.log_format, settings.log_level.upper())
    lane = os.environ.get("ASSAY_LANE", "cpu")
    engine = make_engine(settings.database_url)
    slots = int(os.environ.get("ASSAY_SLOTS") or settings.slots or (1 if lane == "gpu" else cores()))
    _worker = Supervisor(
        SqlStore(engine),
        Storage(engine),
        lane=lane,
        slots=slots,
        cache=Path(settings.home) / "cache",
        memory_mb=(settings.memory_mb or memory_mb()) // slots,
        call=None if settings.redis_url is None else functools.partial(CeleryBell(settings.redis_url).ring, lane),
    )
    _worker.start()


@signals.worker_shutting_down.connect
def _stop(**_: Any) -> None:
    if _worker is not None:
        _worker.stop()
