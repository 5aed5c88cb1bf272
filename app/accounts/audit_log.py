"""What changed is written down.

Every request that may change something leaves a row once it succeeded, a moment after it and in a transaction of its own:
a row that cannot be written is told in the service's log and never fails the request.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, delete, insert
from starlette.requests import Request

from app.accounts.service import Principal
from app.clock import Clock
from app.db.engine import transaction
from app.db.tables import AuditRow, table
from app.ids import new_id

KEPT = timedelta(days=365)
log = logging.getLogger(__name__)
_A = table(AuditRow)


def record(engine: Engine, clock: Clock, caller: Principal, request: Request, action: str, status: int) -> None:
    """Write one row.  Never raises."""
    values = {
        "id": new_id("evt"),
        "owner": caller.owner,
        "key_id": caller.key_id,
        "action": action[:80],
        "method": request.method,
        "path": request.url.path[:400],
        "status": status,
        "request_id": getattr(request.state, "request_id", None),
        "address": request.client.host[:100] if request.client else None,
        "created_at": clock(),
    }
    try:
        with transaction(engine) as connection:
            connection.execute(insert(_A).values(**values))
    except Exception:
        log.exception("%s %s could not be written to the audit log", request.method, request.url.path)


def forget_old(connection: Connection, now: datetime) -> None:
    connection.execute(delete(_A).where(_A.c.created_at < now - KEPT))
