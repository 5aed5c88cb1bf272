"""Shapes of API keys."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BeforeValidator, Field, StringConstraints

from app.schemas import NO_CONTROL, Answer, Body, Name, Time, written_out

Scope = Literal["read", "write", "admin"]
Owner = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9._@-]+$")]


class ApiKeyPost(Body):
    name: Name = Field(examples=["laptop"])
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=3)] = ["read", "write"]
    expires_at: Annotated[AwareDatetime, BeforeValidator(written_out)] | None = Field(
        None, description="RFC 3339; null means never."
    )
    owner: Owner | None = Field(None, description="Whose resources the key opens; yours by default.")


class ApiKey(Answer):
    id: str = Field(examples=["key_0198d3f0c2a97c3f8a51f0a9a4d1c0de"])
    object: Literal["api_key"]
    name: str
    owner: str
    prefix: str = Field(description="The beginning of the key, to recognise it.", pattern=NO_CONTROL)
    scopes: list[Scope]
    expires_at: Time | None
    last_used_at: Time | None
    created_at: Time


class ApiKeyOnce(ApiKey):
    key: str | None = Field(
        description="The key itself.  It is shown this once and kept nowhere; null in a replayed answer."
    )
