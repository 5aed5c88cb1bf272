"""`Idempotency-Key`: a POST that is sent twice happens once, even across a crash.

The first request claims its key as a row.  An endpoint that creates something writes the answer into that row in the
transaction of the creation itself (`Slot.record`), so that no crash can come between them; for the others the answer is
written when they return.  Only successes are kept: after a failure the key is free again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive

from app.clock import Clock
from app.db.engine import transaction
from app.db.tables import IdempotencyRow, table
from app.errors import ApiError, Fault

KEPT = timedelta(hours=24)
STALE = timedelta(seconds=60)  # a claim not renewed for so long belongs to a request that died
RENEW = timedelta(seconds=10)
_T = table(IdempotencyRow)
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_STORED_HEADERS = ("location", "etag", "content-type")


class Slot:
    """The claim of one running request on its key."""

    def __init__(self, engine: Engine, clock: Clock, owner: str, key: str, print_: Fingerprint) -> None:
        self._engine = engine
        self._clock = clock
        self._where = (_T.c.owner == owner, _T.c.key == key)
        self._owner, self._key = owner, key
        self.print = print_
        self.recorded = False
        self._claimed_at = clock()

    def claim(self) -> Row[Any] | None:
        """None: the key is ours.  Otherwise the row of the request that came first (status 0: it still runs)."""
        now = self._claimed_at
        values = {"fingerprint": "", "status": 0, "headers": {}, "body": None, "created_at": now}
        for _ in range(3):
            try:
                with transaction(self._engine) as connection:
                    connection.execute(insert(_T).values(owner=self._owner, key=self._key, **values))
                return None
            except IntegrityError:
                pass
            with transaction(self._engine) as connection:
                row = connection.execute(select(_T).where(*self._where)).one_or_none()
                if row is None:
                    continue  # released just now
                if row.created_at > now - (STALE if row.status == 0 else KEPT):
                    return row
                taken = connection.execute(
                    update(_T).where(*self._where, _T.c.created_at == row.created_at).values(**values)
                )
                if taken.rowcount:
                    return None
        raise ApiError("idempotency_in_progress", f"another request with the key {self._key!r} is running")

    def record(self, connection: Connection, response: Response) -> None:
        """Keep the answer, in the caller's transaction.  The body must have been read to its end."""
        headers = {n: response.headers[n] for n in _STORED_HEADERS if n in response.headers}
        changed = connection.execute(
            update(_T)
            .where(*self._where, _T.c.status == 0, _T.c.created_at == self._claimed_at)
            .values(
                fingerprint=self.print.value(), status=response.status_code, headers=headers, body=bytes(response.body)
            )
        )
        if changed.rowcount == 0:
            raise ApiError("idempotency_in_progress", "this request took so long that its key was given to another one")
        self.recorded = True

    def store(self, response: Response) -> None:
        with transaction(self._engine) as connection:
            self.record(connection, response)

    def due(self) -> bool:
        return self._clock() - self._claimed_at >= RENEW

    def renew(self) -> None:
        """Called while a long body arrives, so that nobody takes the key for abandoned."""
        now = self._clock()
        with transaction(self._engine) as connection:
            owned = (*self._where, _T.c.status == 0, _T.c.created_at == self._claimed_at)
            if connection.execute(update(_T).where(*owned).values(created_at=now)).rowcount:
                self._claimed_at = now

    def release(self) -> None:
        with transaction(self._engine) as connection:
            connection.execute(delete(_T).where(*self._where, _T.c.status == 0, _T.c.created_at == self._claimed_at))


class Fingerprint:
    """SHA-256 over what makes two requests the same: method, path, query, content type and body.

    The boundary of a multipart body is random in every client, so it is left out.
    """

    def __init__(self, request: Request) -> None:
        kind, _, parameters = request.headers.get("content-type", "").partition(";")
        found = re.search(r'boundary="?([^";]+)"?', parameters)
        self._boundary = found[1].encode() if found and kind.strip().lower() == "multipart/form-data" else b""
        head = "\n".join([request.method, request.url.path, request.url.query, kind.strip().lower()])
        self._hash = hashlib.sha256(head.encode() + b"\n\n")
        self._tail = b""
        self.complete = False

    def update(self, message: Message) -> None:
        chunk = message.get("body", b"")
        if self._boundary:
            chunk = (self._tail + chunk).replace(self._boundary, b"")
            keep = len(self._boundary) - 1
            chunk, self._tail = chunk[:-keep] if keep else chunk, chunk[-keep:] if keep else b""
        self._hash.update(chunk)
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self.complete = True

    def value(self) -> str:
        whole = self._hash.copy()
        whole.update(self._tail)
        return whole.hexdigest()


async def once(
    request: Request,
    engine: Engine,
    clock: Clock,
    owner: str,
    handle: Callable[[Request], Awaitable[Response]],
) -> Response:
    """Run a POST under its key, if it has one."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return await handle(request)
    if not _KEY.fullmatch(key):
        message = "must be 1 to 255 visible ASCII characters, for example a UUID"
        fault = Fault("header:Idempotency-Key", "validation_error", message)
        raise ApiError("validation_error", f"Idempotency-Key {message}", errors=[fault])
    print_ = Fingerprint(request)
    slot = Slot(engine, clock, owner, key, print_)
    first = await run_in_threadpool(slot.claim)
    receive = _watched(request.receive, slot)
    if first is not None:
        return await _replay(first, key, print_, receive)
    request.state.idempotency = slot
    try:
        response = await handle(Request(request.scope, receive))
        if 200 <= response.status_code < 300 and not slot.recorded:
            await _drain(print_, receive)
            await run_in_threadpool(slot.store, response)
        return response
    finally:
        if not slot.recorded:
            await run_in_threadpool(slot.release)


def forget_expired(engine: Engine, now: datetime) -> None:
    """Delete answers that were kept long enough."""
    with transaction(engine) as connection:
        connection.execute(delete(_T).where(_T.c.created_at < now - KEPT))


def forget_unfinished(engine: Engine) -> None:
    """Free the keys of requests that died with this server's last process (only where there is one process)."""
    with transaction(engine) as connection:
        connection.execute(delete(_T).where(_T.c.status == 0))


def _watched(receive: Receive, slot: Slot) -> Receive:
    async def watched() -> Message:
        message = await receive()
        if not slot.print.complete:
            slot.print.update(message)
            if not slot.print.complete and slot.due():
                await run_in_threadpool(slot.renew)
        return message

    return watched


async def _drain(print_: Fingerprint, receive: Receive) -> None:
    while not print_.complete:
        await receive()


async def _replay(first: Row[Any], key: str, print_: Fingerprint, receive: Receive) -> Response:
    if first.status == 0:
        raise ApiError(
            "idempotency_in_progress",
            f"the first request with the key {key!r} is still running; ask again in a moment",
            headers={"Retry-After": "1"},
        )
    await _drain(print_, receive)
    if print_.value() != first.fingerprint:
        raise ApiError(
            "idempotency_key_reused", f"the key {key!r} was used for another request; take a new key for a new request"
        )
    return Response(first.body or b"", first.status, {**first.headers, "Idempotent-Replayed": "true"})
