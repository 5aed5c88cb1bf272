"""Shapes of delivered models and of predicting."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from app.jobs.schemas import MemberShape
from app.schemas import Answer, Body, Json, Name, Text, Time

Alias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,100}$")]


class InputColumn(Answer):
    name: str
    type: str
    required: bool
    example: Any


class Model(Answer):
    """A delivered model: the whole ensemble and its preparation as one ONNX graph."""

    id: str = Field(examples=["mdl_0198d3f0c2a97c3f8a51f0a9a4d1c0de"])
    object: Literal["model"]
    job_id: str
    name: str
    description: str
    aliases: list[str]
    kind: str
    task: str
    target: str
    classes: list[str]
    metric: str
    score: float | None
    metrics: dict[str, float | None]
    test_metrics: dict[str, float | None]
    members: list[MemberShape]
    input_schema: list[InputColumn]
    formats: list[Literal["bundle", "onnx"]]
    size_bytes: int
    sha256: str
    created_at: Time
    links: dict[str, str]


class ModelPatch(Body):
    """An alias belongs to one model of a name: setting it here takes it from the one that had it."""

    name: Name | None = None
    description: Text | None = None
    aliases: Annotated[list[Alias], Field(max_length=20)] | None = None


class ModelCard(Answer):
    object: Literal["model_card"]
    model_id: str
    markdown: str
    facts: Json


class ModelSchema(Answer):
    object: Literal["schema"]
    model_id: str
    columns: list[Json]
    fronts: dict[str, str]
    outputs: dict[str, str]
    json_schema: Json


class PredictPost(Body):
    """Rows as objects, or as a table with `columns` and `data`."""

    rows: list[Json] | None = Field(None, examples=[[{"age": 41, "plan": "b"}]])
    columns: list[str] | None = None
    data: list[list[Any]] | None = None


class PredictWarning(Answer):
    row: int | None
    column: str | None
    code: str
    message: str | None = None


class Predictions(Answer):
    model_id: str
    predictions: list[Json]
    warnings: list[PredictWarning]


class AttendedToken(Answer):
    token: str
    weight: float


class TargetPart(Answer):
    output: str
    base: float
    contributions: dict[str, float]


class Explanation(Answer):
    value: Any
    output: str = Field(description="What the contributions explain: a class, or `value`.")
    base: float
    contributions: dict[str, float]
    attention: dict[str, list[AttendedToken]] | None = Field(
        None, description="By column of text, where a model with attention looks; null for models without."
    )
    targets: dict[str, TargetPart] | None = Field(
        None, description="Of a model of several targets: the same for each, where the fields above are of the first."
    )


class Explanations(Answer):
    model_id: str
    method: Literal["occlusion"]
    explanations: list[Explanation]
    warnings: list[PredictWarning]
