"""Sends what waits for webhooks: signed, tried again for a day and a half, remembered in rows.

Signatures follow the Standard Webhooks specification 1.0 (standardwebhooks.com).  An event may arrive twice, when a
sender dies between the answer and its row; `webhook-id` is the same then.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from app import answers
from app.clock import Clock
from app.db.engine import glance, transaction
from app.errors import ApiError
from app.outbound import Pinned, Place
from app.webhooks import repository as rows

SENDERS = 2  # deliveries at once, so that one address that does not answer holds up one of them
POLL = 1.0  # seconds between looks for what is due
CONNECT, SILENCE = 5.0, 10.0  # seconds
LEASE = timedelta(seconds=60)  # longer than an attempt can take
RETRIES = tuple(
    timedelta(seconds=s) for s in (5, 60, 300, 1800, 7200, 18_000, 36_000, 72_000)
)  # after the first attempt, the second, ...; then it has failed
KEPT = timedelta(days=30)  # how long deliveries that are over can be read
log = logging.getLogger(__name__)

Check = Callable[[str], Place]


@dataclass(frozen=True)
class Answer:
    """How an attempt ended: the status, or what went wrong before there was one."""

    status: int | None
    error: str | None = None

    @property
    def good(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Senders:
    """The threads of an API process that deliver.  check: of an address, before every connection."""

    def __init__(self, engine: Engine, clock: Clock, check: Check) -> None:
        self._engine, self._clock, self._check = engine, clock, check
        self._stopping = threading.Event()

    def start(self) -> None:
        for number in range(SENDERS):  # daemons: what they have not recorded when the process ends is sent again
            threading.Thread(target=self._run, name=f"webhooks-{number}", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                sent = deliver_one(self._engine, self._clock, self._check)
            except Exception:
                log.exception("webhooks: the database did not answer as expected")
                sent = False
            if not sent:
                self._stopping.wait(POLL)


def deliver_one(engine: Engine, clock: Clock, check: Check) -> bool:
    """Send the delivery that waits longest and write how that ended; False: none was due."""
    with glance(engine) as connection:
        if not rows.is_due(connection, clock()):
            return False
    with transaction(engine) as connection:
        due = rows.claim(connection, clock(), LEASE)
    if due is None:
        return False
    answer = send(due, clock(), check)
    with transaction(engine) as connection:
        rows.record(connection, due, outcome(due.attempt, answer, clock()))
        if answer.status == 410:  # the receiver says that it wants no more
            rows.switch_off(connection, due.webhook_id)
    log.info("webhook %s: %s of %s", due.webhook_id, answer.status or answer.error, due.event_id)
    return True


def send(due: rows.Due, now: datetime, check: Check) -> Answer:
    """One attempt.  Redirects are not followed: where they lead was not checked by whoever named the address."""
    body = answers.dumps(due.payload)
    stamp = str(int(now.timestamp()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "assay-webhooks/1",
        "webhook-id": due.event_id,
        "webhook-timestamp": stamp,
        "webhook-signature": signature(due.secret, due.event_id, stamp, body),
    }
    try:
        place = check(due.url)
    except ApiError as error:
        return Answer(None, error.detail)
    connection = Pinned(place, CONNECT, SILENCE)
    try:
        connection.request("POST", place.target, body, {"Host": place.authority, **headers})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return Answer(None, f"{place.host} does not answer ({type(error).__name__})")
    finally:
        connection.close()
    return Answer(status, None if 200 <= status < 300 else f"{place.host} answers {status}, expected 2xx")


def outcome(attempt: int, answer: Answer, now: datetime) -> Mapping[str, Any]:
    """What an attempt (from 1) leaves in the row: delivered, tried again later, or failed for good."""
    told = {"answer_status": answer.status, "error": answer.error}
    if answer.good:
        return {**told, "status": "delivered", "next_at": None, "delivered_at": now}
    if attempt > len(RETRIES) or answer.status == 410:
        return {**told, "status": "failed", "next_at": None}
    return {**told, "next_at": now + RETRIES[attempt - 1]}


def signature(secret: str, id: str, stamp: str, body: bytes) -> str:
    """`v1,` and the HMAC-SHA256, in base64, of `id.stamp.body` under the bytes after `whsec_`."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = hmac.new(key, f"{id}.{stamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(signed.digest()).decode()}"
