"""All routers of the API."""

from __future__ import annotations

from fastapi import FastAPI

from app import docs
from app.accounts import audit, usage
from app.accounts import endpoints as accounts
from app.catalog import endpoints as catalog
from app.datasets import endpoints as datasets
from app.datasets import upload_endpoints as uploads
from app.health import endpoints as health
from app.jobs import endpoints as jobs
from app.models import endpoints as models
from app.models import generate, kserve
from app.predictions import endpoints as predictions
from app.webhooks import endpoints as webhooks


def include(app: FastAPI) -> None:
    """Add their routes, in the order in which the documentation shows them.

    They go flat into the application's own list: an included router is looked through once more for every request.
    """
    for part in (
        datasets,
        uploads,
        jobs,
        models,
        generate,
        predictions,
        kserve,
        catalog,
        webhooks,
        accounts,
        usage,
        audit,
        health,
        docs,
    ):
        app.router.routes.extend(part.router.routes)
