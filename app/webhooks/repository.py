"""Webhooks and their deliveries as rows; a delivery is claimed by moving its next attempt into the future."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from app.db.paging import newest_first
from app.store_sql.hooks import deliveries as _D
from app.store_sql.hooks import webhooks as _W


@dataclass(frozen=True)
class Due:
    """A delivery that was claimed: what to send, and where.  attempt: from 1."""

    id: str
    webhook_id: str
    event_id: str
    payload: dict[str, Any]
    attempt: int
    url: str
    secret: str


def add(connection: Connection, values: Mapping[str, Any]) -> None:
    connection.execute(insert(_W).values(**values))


def get(connection: Connection, owner: str, id: str) -> Row[Any] | None:
    return connection.execute(select(_W).where(_W.c.id == id, _W.c.owner == owner)).one_or_none()


def page(connection: Connection, owner: str, after: str | None, limit: int) -> list[Row[Any]]:
    """Newest first; one more than the limit."""
    return newest_first(connection, select(_W).where(_W.c.owner == owner), _W.c.id, after, limit)


def change(connection: Connection, owner: str, id: str, values: Mapping[str, Any]) -> None:
    if values:
        connection.execute(update(_W).where(_W.c.id == id, _W.c.owner == owner).values(**values))


def remove(connection: Connection, owner: str, id: str) -> bool:
    """Delete a webhook with its deliveries; False: there is none."""
    if connection.execute(delete(_W).where(_W.c.id == id, _W.c.owner == owner)).rowcount == 0:
        return False
    connection.execute(delete(_D).where(_D.c.webhook_id == id))
    return True


def get_delivery(connection: Connection, webhook: str, id: str) -> Row[Any] | None:
    return connection.execute(select(_D).where(_D.c.id == id, _D.c.webhook_id == webhook)).one_or_none()


def page_of_deliveries(connection: Connection, webhook: str, after: str | None, limit: int) -> list[Row[Any]]:
    """Newest first; one more than the limit."""
    return newest_first(connection, select(_D).where(_D.c.webhook_id == webhook), _D.c.id, after, limit)


def send_again(connection: Connection, id: str, now: datetime) -> None:
    connection.execute(update(_D).where(_D.c.id == id).values(status="pending", attempts=0, next_at=now))


def is_due(connection: Connection, now: datetime) -> bool:
    """Whether some delivery waits to be sent: a glance, before anything is written."""
    return connection.execute(_first(now)).first() is not None


def claim(connection: Connection, now: datetime, lease: timedelta) -> Due | None:
    """Take the delivery that waits longest.  It is due again after the lease, should the sender die."""
    while True:
        row = connection.execute(_first(now).with_for_update(skip_locked=True)).first()
        if row is None:
            return None
        hook = connection.execute(select(_W.c.url, _W.c.secret, _W.c.enabled).where(_W.c.id == row.webhook_id)).first()
        mine = update(_D).where(_D.c.id == row.id)
        if hook is None:  # the webhook was deleted while the event was written
            connection.execute(delete(_D).where(_D.c.id == row.id))
            continue
        if not hook.enabled:
            connection.execute(mine.values(status="failed", next_at=None, error="the webhook is switched off"))
            continue
        connection.execute(mine.values(attempts=row.attempts + 1, next_at=now + lease))
        return Due(row.id, row.webhook_id, row.event_id, row.payload, row.attempts + 1, hook.url, hook.secret)


def record(connection: Connection, due: Due, values: Mapping[str, Any]) -> None:
    """Write how an attempt ended, unless the delivery was claimed again or sent anew meanwhile."""
    connection.execute(update(_D).where(_D.c.id == due.id, _D.c.attempts == due.attempt).values(**values))


def switch_off(connection: Connection, webhook: str) -> None:
    connection.execute(update(_W).where(_W.c.id == webhook).values(enabled=False))


def forget_old(connection: Connection, before: datetime) -> None:
    """Delete deliveries that are over and older than that."""
    connection.execute(delete(_D).where(_D.c.status != "pending", _D.c.created_at < before))


def _first(now: datetime) -> Any:
    return (
        select(_D.c.id, _D.c.webhook_id, _D.c.event_id, _D.c.payload, _D.c.attempts)
        .where(_D.c.status == "pending", _D.c.next_at <= now)
        .order_by(_D.c.next_at, _D.c.id)
        .limit(1)
    )
