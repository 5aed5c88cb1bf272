"""API keys as rows: found by their hash, listed per owner."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from app.db.paging import newest_first
from app.db.tables import ApiKeyRow, table

_K = table(ApiKeyRow)


def add(connection: Connection, values: dict[str, Any]) -> None:
    connection.execute(insert(_K).values(**values))


def by_hash(connection: Connection, digest: str) -> Row[Any] | None:
    return connection.execute(select(_K).where(_K.c.hash == digest)).one_or_none()


def get(connection: Connection, owner: str, id: str) -> Row[Any] | None:
    return connection.execute(select(_K).where(_K.c.id == id, _K.c.owner == owner)).one_or_none()


def page(connection: Connection, owner: str, after: str | None, limit: int) -> list[Row[Any]]:
    """Newest first; one more than the limit."""
    query = select(_K).where(_K.c.owner == owner, _K.c.revoked_at.is_(None))
    return newest_first(connection, query, _K.c.id, after, limit)


def revoke(connection: Connection, id: str, now: datetime) -> None:
    connection.execute(update(_K).where(_K.c.id == id, _K.c.revoked_at.is_(None)).values(revoked_at=now))


def touch(connection: Connection, id: str, now: datetime) -> None:
    connection.execute(update(_K).where(_K.c.id == id).values(last_used_at=now))
