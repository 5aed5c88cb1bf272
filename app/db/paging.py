"""Rows of a list, page by page."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select


def newest_first(
    connection: Connection, query: Select[Any], id: ColumnElement[str], after: str | None, limit: int
) -> list[Row[Any]]:
    """One more than the limit, by falling id, which grows with time.  after: the last id of the page before."""
    if after is not None:
        query = query.where(id < after)
    return list(connection.execute(query.order_by(id.desc()).limit(limit + 1)))
