"""Shapes of the service's own state."""

from __future__ import annotations

from typing import Any, Literal

from app.schemas import Answer, Json, Time


class Alive(Answer):
    status: Literal["ok"]


class Ready(Answer):
    status: Literal["ok"]
    checks: dict[str, str]


class Version(Answer):
    name: Literal["assay"]
    version: str
    api: Literal["v1"]
    python: str


class Worker(Answer):
    id: str
    lane: str
    slots: int
    busy: int
    devices: list[Any]
    version: str
    started_at: Time
    seen_at: Time


class System(Answer):
    """Who works here, on what, and how much waits."""

    object: Literal["system"]
    version: str
    mode: Literal["embedded", "distributed"]
    database: str
    workers: list[Worker]
    devices: list[Any]
    queue: dict[str, Json]
    limits: Json
    auth: bool
    time: Time
