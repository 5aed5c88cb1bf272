"""Shapes of datasets and uploads."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from app.schemas import Answer, Body, Column, ErrorShape, Json, Name, Tags, Time

ColumnTypeName = Literal["number", "integer", "category", "boolean", "text", "datetime", "id", "constant"]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$")]


class ColumnShape(Answer):
    name: str
    type: ColumnTypeName
    missing: int
    distinct: int
    example: str | float | int | bool | None


class WarningShape(Answer):
    code: str
    column: str | None
    message: str


class Dataset(Answer):
    """One uploaded dataset.  It can be used once its status is `ready`."""

    id: str = Field(examples=["ds_0198d3f0c2a97c3f8a51f0a9a4d1c0de"])
    object: Literal["dataset"]
    name: str
    status: Literal["validating", "ready", "failed"]
    kind: Literal["table", "images", "text", "series", "detection"]
    format: str | None
    version: int = Field(description="One more with every change of the schema.")
    rows: int | None
    bytes: int
    sha256: str | None
    columns: list[ColumnShape]
    warnings: list[WarningShape]
    error: ErrorShape | None
    tags: Tags
    created_at: Time
    updated_at: Time


class DatasetPatch(Body):
    name: Name | None = None
    tags: Tags | None = None


class DatasetFromUpload(Body):
    """Instead of the bytes: a finished upload, or an address at a host the operator allows."""

    upload_id: Annotated[str, StringConstraints(max_length=100)] | None = None
    name: Name | None = None
    format: str | None = Field(None, max_length=40)
    url: Annotated[str, StringConstraints(max_length=2000)] | None = None


class SchemaColumn(Body):
    name: Column
    type: ColumnTypeName


class SchemaPut(Body):
    """Types set by hand.  Columns that are not named keep the type that was inferred."""

    columns: list[SchemaColumn] = Field(max_length=20_000)


class SchemaShape(Answer):
    object: Literal["schema"]
    dataset_id: str
    version: int
    columns: list[Json]


class Preview(Answer):
    """The first rows as they were read; missing values are null."""

    object: Literal["preview"]
    dataset_id: str
    columns: list[str]
    types: dict[str, str]
    rows: list[list[str | float | int | bool | None]]
    total_rows: int


class Profile(Answer):
    object: Literal["profile"]
    dataset_id: str
    profile: Json


class UploadPost(Body):
    filename: Name
    size: int = Field(ge=1, le=1 << 50, description="Bytes in all.")
    sha256: Sha256 | None = Field(None, description="Of the whole content; checked when the last byte is in.")


class Upload(Answer):
    """A resumable upload: send the rest from `offset`."""

    id: str = Field(examples=["upl_0198d3f0c2a97c3f8a51f0a9a4d1c0de"])
    object: Literal["upload"]
    filename: str
    size: int
    offset: int
    sha256: str | None
    status: Literal["open", "complete", "failed"]
    created_at: Time
    updated_at: Time
