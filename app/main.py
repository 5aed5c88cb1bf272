"""The API application: parts made, routes mounted, housekeeping running."""

from __future__ import annotations

import asyncio
import functools
import importlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import Connection, Engine
from starlette.concurrency import run_in_threadpool

from app import api, errors, middleware, openapi
from app.accounts.audit_log import forget_old
from app.accounts.service import Authenticator
from app.clock import utc_now
from app.config import Settings
from app.datasets import repository as dataset_rows
from app.db.engine import make_engine, transaction
from app.deps import Services
from app.health.metrics import Counters
from app.health.service import version
from app.idempotency import forget_expired, forget_unfinished
from app.jobs import repository as job_rows
from app.limiter import Limiter
from app.logs import configure
from app.longpoll import Changes, Look
from app.models.serving import Shelf
from app.predictions import repository as prediction_rows
from app.queue import make_bell
from app.storage import Storage
from app.store import SqlStore
from app.webhooks import repository as webhook_rows
from app.webhooks.sender import KEPT, Senders
from app.webhooks.service import check_url

HOUSEKEEPING = 300.0  # seconds between rounds
ABANDONED = timedelta(days=1)  # age past which an upload that goes nowhere is removed
log = logging.getLogger(__name__)
ABOUT = """
Post a dataset, ask for a model, watch the search, download the best model or let it predict here.

Long work answers **202** with the object; poll it with `?wait=30`, or read its events. Errors are
`application/problem+json` with a stable `code`.
"""


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application for uvicorn.  The database must have the newest schema (`assay migrate`)."""
    settings = settings or Settings.from_env()
    configure(settings.log_format, settings.log_level.upper())
    services = make_services(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if settings.embedded:
            await run_in_threadpool(forget_unfinished, services.engine)
        keeping = asyncio.create_task(_housekeeping(services))
        warming = asyncio.create_task(run_in_threadpool(_warm, services))  # so that the first job need not wait
        senders = Senders(services.engine, services.clock, functools.partial(check_url, settings))
        senders.start()
        try:
            yield
        finally:
            senders.stop()
            keeping.cancel()
            warming.cancel()
            await services.changes.close()
            services.bell.close()
            services.engine.dispose()

    app = FastAPI(
        title="Assay",
        version=version(),
        description=ABOUT,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        root_path=settings.root_path,
        strict_content_type=False,
        generate_unique_id_function=_operation_id,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.services = services
    errors.install(app)
    api.include(app)
    origins = (settings.public_url,) if settings.public_url else ()
    hosts = settings.allowed_hosts if settings.loopback or settings.allowed_hosts != _LOCAL else ("*",)
    middleware.add(
        app, hosts=hosts, origins=origins, max_upload_bytes=settings.max_upload_bytes, observe=services.counters.observe
    )
    openapi.install(app)
    return app


_LOCAL = Settings.__dataclass_fields__["allowed_hosts"].default


def make_services(settings: Settings) -> Services:
    """The long-lived parts.  Nothing connects before it is used."""
    engine = make_engine(settings.database_url, threads=settings.threads)
    storage = Storage(engine)
    kinds = {
        "job": _look(engine, job_rows.revisions),
        "events": _look(engine, job_rows.event_heads),
        "dataset": _look(engine, dataset_rows.tags_of),
        "prediction": _look(engine, prediction_rows.statuses),
    }
    return Services(
        settings=settings,
        engine=engine,
        storage=storage,
        store=SqlStore(engine),
        bell=make_bell(settings),
        changes=Changes(kinds),
        shelf=Shelf(storage),
        authenticator=Authenticator(engine, utc_now, auth=settings.auth),
        counters=Counters(),
        limiter=Limiter(settings.rate_limit),
        clock=utc_now,
    )


def _look(engine: Engine, read: Callable[[Connection, Sequence[str]], Mapping[str, str]]) -> Look:
    def look(ids: Sequence[str]) -> Mapping[str, str]:
        with transaction(engine, read_only=True) as connection:
            return read(connection, ids)

    return look


async def _housekeeping(services: Services) -> None:
    """Remove what nobody refers to any more: old idempotency keys, abandoned uploads, orphaned content."""
    while True:
        await asyncio.sleep(HOUSEKEEPING)
        try:
            await run_in_threadpool(_tidy, services)
        except Exception:
            log.exception("housekeeping failed; it is tried again in %d s", HOUSEKEEPING)


def _warm(services: Services) -> None:
    """Import what creating a job and the first prediction need: every family with its space and cost, the runtime."""
    from app.catalog import service as catalog
    from assay.families import Shape, discover

    try:
        catalog.families()
        catalog.tasks()
        for family in discover().values():
            family.cost(family.Config(), Shape(1_000, 10, 2))
        importlib.import_module("onnxruntime")
    finally:
        services.warmed.set()


def _tidy(services: Services) -> None:
    forget_expired(services.engine, services.clock())
    with transaction(services.engine) as connection:
        dataset_rows.remove_old_uploads(connection, services.clock() - ABANDONED)
        forget_old(connection, services.clock())
        webhook_rows.forget_old(connection, services.clock() - KEPT)
    services.storage.collect()


def _operation_id(route: APIRoute) -> str:
    """Unique for a route that answers HEAD as well: its methods are part of the name."""
    return "_".join([route.name, *sorted(m.lower() for m in route.methods or ())])
