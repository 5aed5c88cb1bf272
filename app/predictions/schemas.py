"""Shapes of batch predictions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from app.schemas import Answer, Body, ErrorShape, Time


class PredictionPost(Body):
    model: Annotated[str, StringConstraints(min_length=1, max_length=400)] = Field(
        description="Its id, or name@alias.", examples=["mdl_0198d3f0c2a97c3f8a51f0a9a4d1c0de"]
    )
    dataset_id: Annotated[str, StringConstraints(max_length=100)] = Field(
        examples=["ds_0198d3f0c2a97c3f8a51f0a9a4d1c0de"]
    )


class Prediction(Answer):
    """A model applied to a whole dataset."""

    id: str = Field(examples=["prd_0198d3f0c2a97c3f8a51f0a9a4d1c0de"])
    object: Literal["prediction"]
    model_id: str
    dataset_id: str
    status: Literal["queued", "running", "succeeded", "failed"]
    rows: int | None
    error: ErrorShape | None
    created_at: Time
    finished_at: Time | None
    links: dict[str, str]
