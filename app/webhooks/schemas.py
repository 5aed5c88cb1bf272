"""Shapes of webhooks and their deliveries."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from app.schemas import NO_CONTROL, Answer, Body, Json, Time

EventType = Literal[
    "job.started",
    "job.paused",
    "job.succeeded",
    "job.failed",
    "job.cancelled",
    "model.ready",
    "dataset.ready",
    "dataset.failed",
    "prediction.succeeded",
    "prediction.failed",
]
Url = Annotated[
    str,
    StringConstraints(min_length=8, max_length=2000, pattern=NO_CONTROL),
    Field(
        description="http or https.  Only public addresses are reached, those the operator allows, and on a server "
        "without keys on loopback this machine's own.",
        examples=["https://example.com/hooks/assay"],
    ),
]
Events = Annotated[
    list[EventType],
    Field(min_length=1, max_length=10, description="What to tell.", examples=[["job.succeeded", "job.failed"]]),
]
Note = Annotated[str, StringConstraints(max_length=400, pattern=NO_CONTROL)]


class WebhookPost(Body):
    url: Url
    events: Events = ["job.succeeded", "job.failed", "job.cancelled"]
    description: Note = ""
    enabled: bool = True


class WebhookPatch(Body):
    url: Url | None = None
    events: Events | None = None
    description: Note | None = None
    enabled: bool | None = None


class Webhook(Answer):
    id: str = Field(examples=["whk_0198d3f0c2a97c3f8a51f0a9a4d1c0de"])
    object: Literal["webhook"]
    url: str
    events: list[EventType]
    description: str
    enabled: bool = Field(description="False after its address answered 410, too: then nothing is sent there.")
    created_at: Time


class WebhookOnce(Webhook):
    secret: str | None = Field(
        description="Signs every delivery.  It is shown this once; null in a replayed answer.",
        examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"],
    )


class Delivery(Answer):
    """One event on its way to one webhook."""

    id: str = Field(examples=["dlv_0198d3f0c2a97c3f8a51f0a9a4d1c0de"])
    object: Literal["delivery"]
    webhook_id: str
    event_id: str = Field(description="The same in every attempt, and in the header `webhook-id`.")
    type: str
    status: Literal["pending", "delivered", "failed"]
    attempts: int
    next_at: Time | None = Field(description="When it is tried (again); null once that is over.")
    answer_status: int | None = Field(description="HTTP status of the last answer.")
    error: str | None = Field(description="Why the last attempt failed.")
    payload: Json = Field(description="The body that is sent.")
    created_at: Time
    delivered_at: Time | None
