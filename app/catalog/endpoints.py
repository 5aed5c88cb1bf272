"""`/v1/families`, `/v1/strategies`, `/v1/tasks`, `/v1/metrics`."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from app import answers
from app.catalog import service
from app.catalog.schemas import FamilyShape, MetricShape, StrategyShape, TaskShape
from app.describe import answers as described
from app.pages import whole
from app.route import Route
from app.schemas import Page

router = APIRouter(route_class=Route, tags=["catalogue"])


@router.get("/v1/families", summary="Model families", responses=described(Page[FamilyShape]))
def list_families() -> Response:
    """Each with its search space as a JSON schema and its defaults, which are the first trial."""
    return answers.json(whole(service.families()))


@router.get("/v1/strategies", summary="Search strategies", responses=described(Page[StrategyShape]))
def list_strategies() -> Response:
    return answers.json(whole(service.strategies()))


@router.get("/v1/tasks", summary="Kinds of problem", responses=described(Page[TaskShape]))
def list_tasks() -> Response:
    return answers.json(whole(service.tasks()))


@router.get("/v1/metrics", summary="Metrics", responses=described(Page[MetricShape]))
def list_metrics() -> Response:
    return answers.json(whole(service.metrics()))
