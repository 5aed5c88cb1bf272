"""What webhooks are told: a delivery for each of them, written in the transaction of what it tells of.

So an event that was written will be told, whatever dies; and one that was not, never.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select

from app.answers import time
from app.db.tables import DatasetRow, DeliveryRow, JobRow, PredictionRow, WebhookRow, table
from app.ids import new_id

OF_JOBS = ("job.started", "job.paused", "job.succeeded", "job.failed", "job.cancelled", "model.ready")
OF_CHORES = ("dataset.ready", "dataset.failed", "prediction.succeeded", "prediction.failed")
TEST = "webhook.test"
TYPES = (*OF_JOBS, *OF_CHORES, TEST)

webhooks = table(WebhookRow)
deliveries = table(DeliveryRow)
_OWNED = {"job": table(JobRow), "dataset": table(DatasetRow), "prediction": table(PredictionRow)}
_LISTENING = {
    kind: select(webhooks.c.id).where(
        webhooks.c.owner == select(owned.c.owner).where(owned.c.id == bindparam("the_ref")).scalar_subquery(),
        webhooks.c.enabled,
        webhooks.c.events.contains(bindparam("wanted"), autoescape=False),
    )
    for kind, owned in _OWNED.items()
}


def tell(connection: Connection, kind: str, ref: str, type: str, data: Mapping[str, Any], now: datetime) -> None:
    """Queue a delivery to every enabled webhook of the owner of a job, dataset or prediction that wants this type."""
    if type not in TYPES:
        return
    found = connection.scalars(_LISTENING[kind], {"the_ref": ref, "wanted": spelled([type])}).all()
    if found:
        body = {f"{kind}_id": ref, **data}
        add(connection, found, type, body, now)


def add(connection: Connection, to: list[str] | Any, type: str, data: Mapping[str, Any], now: datetime) -> list[str]:
    """Queue one event for these webhooks.  Returns the ids of the deliveries."""
    event = new_id("evt")
    payload = {"id": event, "object": "event", "type": type, "created_at": time(now), "data": dict(data)}
    rows = [
        {
            "id": new_id("dlv"),
            "webhook_id": webhook,
            "event_id": event,
            "type": type,
            "payload": payload,
            "status": "pending",
            "next_at": now,
            "created_at": now,
        }
        for webhook in to
    ]
    connection.execute(insert(deliveries).inline(), rows)
    return [str(row["id"]) for row in rows]


def spelled(types: list[str]) -> str:
    """Types as they are stored: each between spaces, so that one is found by looking for it with its spaces."""
    return f" {'  '.join(types)} "
