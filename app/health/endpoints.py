"""`/livez`, `/readyz`, `/metrics`, `/version` and `/v1/system`."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from app import answers
from app.deps import Live
from app.describe import STRING
from app.describe import answers as described
from app.health import service
from app.health.metrics import MEDIA_TYPE
from app.health.schemas import Alive, Ready, System, Version
from app.route import Route

router = APIRouter(route_class=Route, tags=["system"])
PUBLIC = {"x-scope": "public"}


@router.get("/livez", summary="Is the process alive?", responses=described(Alive), openapi_extra=PUBLIC)
async def livez() -> Response:
    return answers.json({"status": "ok"})


@router.get(
    "/readyz",
    summary="Can it serve?",
    responses=described(Ready, "capacity_unavailable"),
    openapi_extra=PUBLIC,
)
def readyz(services: Live) -> Response:
    """503 while the database cannot be reached."""
    return answers.json(service.ready(services))


@router.get("/version", summary="What runs here", responses=described(Version), openapi_extra=PUBLIC)
async def version() -> Response:
    return answers.json(service.version_json())


@router.get("/metrics", summary="For Prometheus", responses=described(None, media={"text/plain": STRING}))
def metrics(services: Live) -> Response:
    return Response(service.prometheus(services), headers={"Content-Type": MEDIA_TYPE})


@router.get("/v1/system", summary="Workers, devices, queue and limits", responses=described(System))
def system(services: Live) -> Response:
    return answers.json(service.system(services))
