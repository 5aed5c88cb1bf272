"""Delivered models as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from app.db.paging import newest_first
from app.db.tables import BlobRow, JobRow, ModelRow, table
from app.store_sql.change import lock

_M = table(ModelRow)
_J = table(JobRow)
_B = table(BlobRow)


def get(connection: Connection, owner: str, id: str) -> Row[Any] | None:
    return connection.execute(select(_M).where(_M.c.id == id, _M.c.owner == owner)).one_or_none()


def named(connection: Connection, owner: str, name: str) -> list[Row[Any]]:
    """Models of a name, the newest first."""
    return list(connection.execute(select(_M).where(_M.c.owner == owner, _M.c.name == name).order_by(_M.c.id.desc())))


def page(
    connection: Connection, owner: str, after: str | None, limit: int, job: str | None, name: str | None
) -> list[Row[Any]]:
    """Newest first; one more than the limit."""
    query = select(_M).where(_M.c.owner == owner)
    if job is not None:
        query = query.where(_M.c.job_id == job)
    if name is not None:
        query = query.where(_M.c.name == name)
    return newest_first(connection, query, _M.c.id, after, limit)


def change(connection: Connection, id: str, values: Mapping[str, Any]) -> None:
    if values:
        connection.execute(update(_M).where(_M.c.id == id).values(**values))


def take_aliases(connection: Connection, owner: str, name: str, aliases: Sequence[str], but: str) -> None:
    """From the other models of the name."""
    for row in named(connection, owner, name):
        kept = [a for a in row.aliases or [] if a not in aliases]
        if row.id != but and kept != row.aliases:
            change(connection, row.id, {"aliases": kept})


def remove(connection: Connection, row: Any, now: datetime) -> None:
    """The model, and its job's word that it was the newest."""
    job = lock(connection, row.job_id, now)
    connection.execute(delete(_M).where(_M.c.id == row.id))
    if job is not None:
        if job["model_id"] == row.id:
            query = select(_M.c.id).where(_M.c.job_id == row.job_id).order_by(_M.c.id.desc()).limit(1)
            job.set(model_id=connection.scalar(query))
        job.tell("model.deleted", model_id=row.id)
        job.write()


def blob_size(connection: Connection, blob: int) -> int:
    """Bytes of a stored file."""
    return int(connection.scalar(select(_B.c.size).where(_B.c.id == blob)) or 0)
