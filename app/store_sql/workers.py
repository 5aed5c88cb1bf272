"""Who works: the rows by which workers show that they are alive."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from app.db.tables import WorkerRow, table
from assay.search.store import LEASE

workers = table(WorkerRow)
FORGOTTEN = timedelta(days=1)  # after this much silence the row goes


def beat(
    connection: Connection,
    worker: str,
    lane: str,
    slots: int,
    busy: int,
    devices: Sequence[Any],
    version: str,
    now: datetime,
) -> None:
    values = {
        "lane": lane,
        "slots": slots,
        "busy": busy,
        "devices": list(devices),
        "version": version,
        "seen_at": now,
    }
    if connection.execute(update(workers).where(workers.c.id == worker).values(**values)).rowcount == 0:
        connection.execute(insert(workers).inline().values(id=worker, started_at=now, **values))
        connection.execute(delete(workers).where(workers.c.seen_at < now - FORGOTTEN))


def alive(connection: Connection, now: datetime) -> list[WorkerRow]:
    seen = select(workers).where(workers.c.seen_at > now - timedelta(seconds=LEASE)).order_by(workers.c.id)
    return [WorkerRow(**row._mapping) for row in connection.execute(seen)]


def forget(connection: Connection, worker: str) -> None:
    connection.execute(delete(workers).where(workers.c.id == worker))
