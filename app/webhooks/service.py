"""Webhooks: addresses that are told what happened.  Their owner's alone; each signs with a secret of its own."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row

from app import outbound
from app.accounts.service import Principal
from app.answers import time
from app.config import Settings
from app.db.engine import transaction
from app.deps import Services
from app.errors import ApiError, Fault, not_found
from app.ids import is_id, new_id
from app.store_sql import hooks
from app.webhooks import repository as rows

MOST = 100  # webhooks an owner may have


def to_json(row: Any) -> dict[str, Any]:
    return {
        "id": row["id"],
        "object": "webhook",
        "url": row["url"],
        "events": row["events"].split(),
        "description": row["description"],
        "enabled": row["enabled"],
        "created_at": time(row["created_at"]),
    }


def delivery_json(row: Row[Any]) -> dict[str, Any]:
    fields = ("id", "webhook_id", "event_id", "type", "status", "attempts", "answer_status", "error", "payload")
    times = {name: time(getattr(row, name)) for name in ("next_at", "created_at", "delivered_at")}
    return {"object": "delivery", **{name: getattr(row, name) for name in fields}, **times}


def create(services: Services, caller: Principal, given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """A new webhook and its secret.  Raises source_not_allowed, source_unreachable, quota_exceeded."""
    check_url(services.settings, given["url"])
    secret = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
    values = {
        "id": new_id("whk"),
        "owner": caller.owner,
        **given,
        "events": hooks.spelled(given["events"]),
        "secret": secret,
        "created_at": services.clock(),
    }
    with transaction(services.engine) as connection:
        if len(rows.page(connection, caller.owner, None, MOST)) >= MOST:
            raise ApiError("quota_exceeded", f"there are {MOST} webhooks already; delete one first")
        rows.add(connection, values)
    return to_json(values), secret


def get(services: Services, caller: Principal, id: str) -> Row[Any]:
    """Raises not_found."""
    with transaction(services.engine, read_only=True) as connection:
        row = rows.get(connection, caller.owner, id) if is_id("whk", id) else None
    if row is None:
        raise not_found("webhook", id)
    return row


def listed(services: Services, caller: Principal, after: str | None, limit: int) -> list[Row[Any]]:
    with transaction(services.engine, read_only=True) as connection:
        return rows.page(connection, caller.owner, after, limit)


def change(services: Services, caller: Principal, id: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Set what is given.  Raises not_found, source_not_allowed, source_unreachable."""
    get(services, caller, id)
    values = dict(given)
    if "url" in values:
        check_url(services.settings, values["url"])
    if "events" in values:
        values["events"] = hooks.spelled(values["events"])
    with transaction(services.engine) as connection:
        rows.change(connection, caller.owner, id, values)
    return to_json(get(services, caller, id)._mapping)


def delete(services: Services, caller: Principal, id: str) -> None:
    """Raises not_found."""
    with transaction(services.engine) as connection:
        found = is_id("whk", id) and rows.remove(connection, caller.owner, id)
    if not found:
        raise not_found("webhook", id)


def test(services: Services, caller: Principal, id: str) -> dict[str, Any]:
    """Queue a delivery that only says that it is a test.  Raises not_found, invalid_transition."""
    hook = get(services, caller, id)
    if not hook.enabled:
        raise ApiError("invalid_transition", "the webhook is switched off; PATCH it with {'enabled': true} first")
    with transaction(services.engine) as connection:
        (made,) = hooks.add(connection, [id], hooks.TEST, {"webhook_id": id}, services.clock())
        row = rows.get_delivery(connection, id, made)
    assert row is not None
    return delivery_json(row)


def deliveries(services: Services, caller: Principal, id: str, after: str | None, limit: int) -> list[Row[Any]]:
    """Raises not_found."""
    get(services, caller, id)
    with transaction(services.engine, read_only=True) as connection:
        return rows.page_of_deliveries(connection, id, after, limit)


def delivery(services: Services, caller: Principal, id: str, of: str) -> dict[str, Any]:
    """Raises not_found."""
    get(services, caller, id)
    with transaction(services.engine, read_only=True) as connection:
        row = rows.get_delivery(connection, id, of) if is_id("dlv", of) else None
    if row is None:
        raise not_found("delivery", of)
    return delivery_json(row)


def redeliver(services: Services, caller: Principal, id: str, of: str) -> dict[str, Any]:
    """Send the same event again, from the first attempt on.  Raises not_found."""
    delivery(services, caller, id, of)
    with transaction(services.engine) as connection:
        rows.send_again(connection, of, services.clock())
    return delivery(services, caller, id, of)


def check_url(settings: Settings, url: str) -> outbound.Place:
    """The place behind a webhook's address.  Raises source_not_allowed and, for a name nobody knows, source_unreachable.

    Public addresses may be reached; `webhook_hosts`, where it is set, names the only hosts that may, and an IP address in
    it may be a private one.  On a server that asks for no keys and that only this machine can reach, this machine may be
    reached, too: whoever calls it is here already.  The service itself is never called.
    """
    try:
        _, host, port = outbound.parts_of(url)
        named = f"[{host}]" if ":" in host else host
        listed = {h.lower() for h in settings.webhook_hosts}
        trusted = f"{named}:{port}" in listed or named in listed
        if listed and not trusted:
            raise outbound.NotAllowed(f"{named}:{port} is not one of the hosts webhooks may go to on this server")
        here = settings.loopback and not settings.auth and port != settings.port

        def may(address: outbound.IpAddress) -> bool:
            literal = trusted and str(address) == host  # named by the operator as it is, not by a name that may change
            return literal or outbound.is_public(address) or (here and address.is_loopback)

        return outbound.place_of(url, may)
    except outbound.NotAllowed as error:
        raise _refused("source_not_allowed", str(error)) from None
    except outbound.NotKnown as error:
        raise _refused("source_unreachable", str(error)) from None


def _refused(code: str, text: str) -> ApiError:
    return ApiError(code, text, errors=[Fault("/url", code, text)])
