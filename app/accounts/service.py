"""Who is calling, and the keys they call with.

A key is 256 random bits, so its SHA-256 is enough to keep: nobody guesses the key from it, and it is found by index.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from sqlalchemy import Engine, Row
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.accounts import repository
from app.answers import time
from app.clock import Clock
from app.db.engine import transaction
from app.errors import ApiError, not_found
from app.ids import is_id, new_id

SCOPES = ("read", "write", "admin")  # each holds those before it
REMEMBER = 2.0  # seconds a checked key is trusted without asking the database, per process
TOUCH = timedelta(minutes=1)  # how exact last_used_at is
_REALM = {"WWW-Authenticate": 'Bearer realm="assay"'}


@dataclass(frozen=True)
class Principal:
    """The caller: whose resources they see, and how far they may go."""

    owner: str
    scopes: frozenset[str]
    key_id: str | None = None

    def may(self, scope: str) -> bool:
        return any(s in self.scopes for s in SCOPES[SCOPES.index(scope) :])


LOCAL = Principal("local", frozenset(SCOPES))  # the one user of a server that only this machine can reach


def create_key(
    engine: Engine, clock: Clock, *, owner: str, name: str, scopes: Sequence[str], expires_at: datetime | None = None
) -> tuple[dict[str, Any], str]:
    """A new key: its public form, and the secret, which is not kept anywhere."""
    secret = f"ask_{secrets.token_urlsafe(32)}"
    values = {
        "id": new_id("key"),
        "owner": owner,
        "name": name,
        "hash": digest(secret),
        "prefix": secret[:10],
        "scopes": list(scopes),
        "expires_at": expires_at,
        "revoked_at": None,
        "last_used_at": None,
        "created_at": clock(),
    }
    with transaction(engine) as connection:
        repository.add(connection, values)
    return to_json(values), secret


def get_key(engine: Engine, owner: str, id: str) -> dict[str, Any]:
    with transaction(engine, read_only=True) as connection:
        row = repository.get(connection, owner, id) if is_id("key", id) else None
    if row is None or row.revoked_at is not None:
        raise not_found("API key", id)
    return to_json(row._mapping)


def list_keys(engine: Engine, owner: str, after: str | None, limit: int) -> list[Row[Any]]:
    with transaction(engine, read_only=True) as connection:
        return repository.page(connection, owner, after, limit)


def revoke_key(engine: Engine, clock: Clock, owner: str, id: str) -> None:
    get_key(engine, owner, id)
    with transaction(engine) as connection:
        repository.revoke(connection, id, clock())


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def to_json(row: Any) -> dict[str, Any]:
    return {
        "id": row["id"],
        "object": "api_key",
        "name": row["name"],
        "owner": row["owner"],
        "prefix": row["prefix"],
        "scopes": row["scopes"],
        "expires_at": time(row["expires_at"]),
        "last_used_at": time(row["last_used_at"]),
        "created_at": time(row["created_at"]),
    }


class Authenticator:
    """Request -> Principal.  With auth off, everybody is the local user."""

    def __init__(self, engine: Engine, clock: Clock, *, auth: bool) -> None:
        self._engine = engine
        self._clock = clock
        self._auth = auth
        self._known: dict[str, tuple[float, Principal, datetime | None]] = {}  # hash -> trusted until, who, expiry

    async def __call__(self, request: Request) -> Principal:
        """Raises unauthorized."""
        if not self._auth:
            return LOCAL
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise ApiError("unauthorized", "send your API key as `Authorization: Bearer ask_...`", headers=_REALM)
        hashed = digest(secret.strip())
        known = self._known.get(hashed)
        if known is not None and known[0] > monotonic():
            self._check_expiry(known[2])
            return known[1]
        return await run_in_threadpool(self._look_up, hashed)

    def forget(self) -> None:
        """After a key was revoked."""
        self._known.clear()

    def _look_up(self, hashed: str) -> Principal:
        now = self._clock()
        with transaction(self._engine, read_only=True) as connection:
            row = repository.by_hash(connection, hashed)
        if row is None or row.revoked_at is not None:
            raise ApiError("unauthorized", "this API key is not known here, or it was revoked", headers=_REALM)
        self._check_expiry(row.expires_at)
        if row.last_used_at is None or now - row.last_used_at > TOUCH:
            with transaction(self._engine) as connection:
                repository.touch(connection, row.id, now)
        principal = Principal(row.owner, frozenset(row.scopes), row.id)
        if len(self._known) > 10_000:
            self._known.clear()
        self._known[hashed] = (monotonic() + REMEMBER, principal, row.expires_at)
        return principal

    def _check_expiry(self, expires_at: datetime | None) -> None:
        if expires_at is not None and expires_at <= self._clock():
            raise ApiError("unauthorized", f"this API key expired at {time(expires_at)}", headers=_REALM)
