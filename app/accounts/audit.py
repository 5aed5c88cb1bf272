"""`/v1/audit_events`: who changed what, and from where."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from sqlalchemy import Row, select
from starlette.responses import Response

from app import answers
from app.answers import time
from app.db.engine import transaction
from app.db.paging import newest_first
from app.db.tables import AuditRow, table
from app.deps import Caller, Live
from app.describe import answers as described
from app.pages import After, Limit, page
from app.route import Route
from app.schemas import Answer, Page, Time

router = APIRouter(route_class=Route, tags=["accounts"])
_A = table(AuditRow)


class AuditEvent(Answer):
    """One change.  action: the operation of `/openapi.json`, without its method."""

    id: str
    object: Literal["audit_event"]
    action: str
    method: str
    path: str
    status: int
    key_id: str | None
    request_id: str | None
    address: str | None
    created_at: Time


@router.get(
    "/v1/audit_events",
    summary="Who changed what",
    responses=described(Page[AuditEvent]),
    openapi_extra={"x-scope": "admin"},
)
def list_audit_events(services: Live, caller: Caller, limit: Limit = 20, after: After = None) -> Response:
    """Newest first; kept for a year."""
    query = select(_A).where(_A.c.owner == caller.owner)
    with transaction(services.engine, read_only=True) as connection:
        found = newest_first(connection, query, _A.c.id, after, limit)
    return answers.json(page(found, limit, _to_json, lambda r: r.id))


def _to_json(row: Row[Any]) -> dict[str, Any]:
    fields = ("id", "action", "method", "path", "status", "key_id", "request_id", "address")
    return {
        "object": "audit_event",
        **{name: getattr(row, name) for name in fields},
        "created_at": time(row.created_at),
    }
