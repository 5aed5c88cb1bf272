"""Shapes of the catalogue."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from app.schemas import Answer, Json


class FamilyShape(Answer):
    object: Literal["family"]
    name: str
    tasks: list[str]
    lane: str
    form: str = Field(
        description="Which form of the data it reads, of tasks that have several (multitask); else empty."
    )
    about: str
    reference: str
    defaults: Json
    json_schema: Json


class StrategyShape(Answer):
    object: Literal["strategy"]
    name: str
    about: str
    json_schema: Json


class TaskShape(Answer):
    object: Literal["task"]
    name: str
    about: str
    kinds: list[str]
    default_metrics: dict[str, str]
    metrics: dict[str, list[str]]
    families: list[str]
    json_schema: Json


class MetricShape(Answer):
    object: Literal["metric"]
    name: str
    about: str
    kinds: list[str]
    greater_is_better: bool
    json_schema: Json
