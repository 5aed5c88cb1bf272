"""What endpoints are given: the parts of the running service, and who is calling."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request
from sqlalchemy import Connection, Engine
from starlette.responses import Response

from app.accounts.service import Authenticator, Principal
from app.clock import Clock
from app.config import Settings
from app.limiter import Limiter
from app.longpoll import Changes
from app.queue import Doorbell
from app.storage import Storage
from app.store import SqlStore

if TYPE_CHECKING:
    from app.health.metrics import Counters
    from app.models.serving import Shelf


@dataclass(frozen=True)
class Services:
    """The long-lived parts of one API process."""

    settings: Settings
    engine: Engine
    storage: Storage
    store: SqlStore
    bell: Doorbell
    changes: Changes
    shelf: Shelf
    authenticator: Authenticator
    counters: Counters
    limiter: Limiter
    clock: Clock
    warmed: Event = field(default_factory=Event)  # set once what creating a job needs is imported


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def _caller(request: Request) -> Principal:
    principal: Principal = request.state.principal  # put there by app.route.Route
    return principal


Live = Annotated[Services, Depends(_services)]
Caller = Annotated[Principal, Depends(_caller)]


def record_answer(request: Request, connection: Connection, response: Response) -> None:
    """Write the answer of a creating POST under its idempotency key, in the transaction of the creation."""
    slot = getattr(request.state, "idempotency", None)
    if slot is not None:
        slot.record(connection, response)
