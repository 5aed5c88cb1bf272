"""Datasets and uploads as rows.  Every function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from app.db.paging import newest_first
from app.db.tables import DatasetRow, JobRow, PredictionRow, UploadRow, table
from app.store_sql import jobs
from assay.search.lifecycle import ENDED

_D = table(DatasetRow)
_U = table(UploadRow)
_J = table(JobRow)
_P = table(PredictionRow)
_ENDED = sorted(ENDED)
# everything the answer shows; the profile and the formats of a wide table are long and have routes of their own
SHOWN = [c for c in _D.c if c.name not in ("profile", "formats")]


def get(connection: Connection, owner: str, id: str, *, keep: bool = False) -> Row[Any] | None:
    """keep: nobody may delete it before the transaction ends."""
    query = select(*SHOWN).where(_D.c.id == id, _D.c.owner == owner)
    return connection.execute(query.with_for_update(read=True) if keep else query).one_or_none()


def get_whole(connection: Connection, owner: str, id: str) -> Row[Any] | None:
    return connection.execute(select(_D).where(_D.c.id == id, _D.c.owner == owner)).one_or_none()


def tags_of(connection: Connection, ids: Sequence[str]) -> dict[str, str]:
    """What changes with every change of a dataset, by id."""
    query = select(_D.c.id, _D.c.status, _D.c.version, _D.c.updated_at).where(_D.c.id.in_(ids))
    return {r.id: tag(r) for r in connection.execute(query)}


def tag(row: Any) -> str:
    return f"{row.status}-{row.version}-{int(row.updated_at.timestamp() * 1e6):x}"


def page(
    connection: Connection, owner: str, after: str | None, limit: int, status: Sequence[str] | None
) -> list[Row[Any]]:
    """Newest first; one more than the limit."""
    query = select(*SHOWN).where(_D.c.owner == owner)
    if status:
        query = query.where(_D.c.status.in_(status))
    return newest_first(connection, query, _D.c.id, after, limit)


def add(connection: Connection, values: Mapping[str, Any]) -> None:
    connection.execute(insert(_D).values(**values))


def change(connection: Connection, id: str, values: Mapping[str, Any]) -> None:
    connection.execute(update(_D).where(_D.c.id == id).values(**values))


def remove(connection: Connection, id: str) -> None:
    """Raises ValueError while a job that has not ended needs it."""
    jobs.delete_dataset(connection, id)


def unfinished_jobs(connection: Connection, id: str) -> list[str]:
    """Jobs that have not ended and read this dataset, as their own or as validation or test rows."""
    found = select(_J.c.id, _J.c.dataset_id, _J.c.request).where(_J.c.status.not_in(_ENDED)).order_by(_J.c.id)
    reads = ("validation_dataset_id", "test_dataset_id")
    return [r.id for r in connection.execute(found) if r.dataset_id == id or id in [r.request.get(k) for k in reads]]


def unfinished_predictions(connection: Connection, id: str) -> list[str]:
    found = select(_P.c.id).where(_P.c.dataset_id == id, _P.c.status.in_(("queued", "running"))).order_by(_P.c.id)
    return list(connection.scalars(found))


def add_upload(connection: Connection, values: Mapping[str, Any]) -> None:
    connection.execute(insert(_U).values(**values))


def get_upload(connection: Connection, owner: str, id: str) -> Row[Any] | None:
    return connection.execute(select(_U).where(_U.c.id == id, _U.c.owner == owner)).one_or_none()


def change_upload(connection: Connection, id: str, values: Mapping[str, Any]) -> bool:
    return connection.execute(update(_U).where(_U.c.id == id).values(**values)).rowcount == 1


def remove_upload(connection: Connection, id: str) -> None:
    connection.execute(delete(_U).where(_U.c.id == id))


def remove_old_uploads(connection: Connection, before: datetime) -> int:
    return connection.execute(delete(_U).where(_U.c.updated_at < before)).rowcount
