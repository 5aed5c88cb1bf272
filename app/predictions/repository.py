"""Batch predictions as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from app.db.paging import newest_first
from app.db.tables import PredictionRow, table

_P = table(PredictionRow)


def get(connection: Connection, owner: str, id: str) -> Row[Any] | None:
    return connection.execute(select(_P).where(_P.c.id == id, _P.c.owner == owner)).one_or_none()


def page(connection: Connection, owner: str, after: str | None, limit: int) -> list[Row[Any]]:
    """Newest first; one more than the limit."""
    return newest_first(connection, select(_P).where(_P.c.owner == owner), _P.c.id, after, limit)


def add(connection: Connection, values: Mapping[str, Any]) -> None:
    connection.execute(insert(_P).values(**values))


def statuses(connection: Connection, ids: Sequence[str]) -> dict[str, str]:
    return {r.id: r.status for r in connection.execute(select(_P.c.id, _P.c.status).where(_P.c.id.in_(ids)))}
