"""What the shapes of the API have in common.  Bodies are checked against them; answers are only described by them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

T = TypeVar("T")

NO_CONTROL = r"^[^\x00-\x1f\x7f]*$"
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=NO_CONTROL)]
Text = Annotated[str, StringConstraints(max_length=20_000, pattern=r"^[^\x00]*$")]
Column = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=r"^[^\x00]*$")]
TagName = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=NO_CONTROL)]
TagValue = Annotated[str, StringConstraints(max_length=500, pattern=NO_CONTROL)] | bool | int | float | None
Tags = Annotated[dict[TagName, TagValue], Field(max_length=50, description="Your own labels, up to 50.")]


def written_out(value: Any) -> Any:
    """Pydantic would take a number for seconds since 1970, too."""
    if isinstance(value, str) and not re.match(r"\d{4}-\d\d-\d\d[Tt ]", value):
        raise ValueError("write the time like 2026-01-31T12:00:00Z")
    if value is not None and not isinstance(value, (str, datetime)):
        raise ValueError("write the time as text, like 2026-01-31T12:00:00Z")
    return value


Moment = Annotated[datetime, BeforeValidator(written_out)]  # of a request
Time = Annotated[datetime, Field(description="RFC 3339, UTC.", examples=["2026-01-31T12:00:00.000000Z"])]


class Body(BaseModel):
    """A request body: unknown fields are errors, and so are NaN and infinity."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())


class Answer(BaseModel):
    """An answer: fields may be added later."""

    model_config = ConfigDict(protected_namespaces=())


class Page(Answer, Generic[T]):
    """One page of a collection; `next_after` is the cursor of the next one."""

    data: list[T]
    has_more: bool
    next_after: str | int | None


class FaultShape(Answer):
    """One thing wrong with a request."""

    pointer: str = Field(
        description="JSON pointer into the body, or `?name`, `header:Name`.", examples=["/task/target"]
    )
    code: str
    message: str


class Problem(Answer):
    """RFC 9457 problem details with a stable code."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str | None
    errors: list[FaultShape]


class ErrorShape(Answer):
    """Why something ended badly."""

    code: str
    message: str


Json = dict[str, Any]
