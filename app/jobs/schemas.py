"""Shapes of jobs, trials and what belongs to them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

from app.schemas import Answer, Body, Column, ErrorShape, Json, Name, Tags, Time

Word = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Seconds = Annotated[float, Field(gt=0, le=31_536_000)]
JobStatusName = Literal[
    "queued", "running", "pausing", "paused", "cancelling", "finishing", "succeeded", "failed", "cancelled"
]
TrialStatusName = Literal["queued", "running", "completed", "stopped", "failed"]


class TargetPost(Body):
    """One target of several: the column, and what of it cannot be told from the data."""

    name: Column
    kind: Word = Field(
        "auto",
        description="auto, classification, regression; over texts also pair_classification, similarity, ranking; over "
        "pictures segmentation.",
    )
    columns: Annotated[list[Column], Field(min_length=1, max_length=100)] | None = Field(
        None, description="Columns of text that this target reads; two for pairs. Null: those that its rows have."
    )

    @model_serializer(mode="wrap")
    def _short(self, plain: SerializerFunctionWrapHandler) -> Any:
        """A name alone comes back as it was sent."""
        return self.name if self.kind == "auto" and self.columns is None else plain(self)


def _named(entry: Any) -> Any:
    return {"name": entry} if isinstance(entry, str) else entry


def _one(target: Any) -> Any:
    if isinstance(target, list):
        raise ValueError("this is one column; several go in task.targets")
    return target


Target = Annotated[TargetPost, BeforeValidator(_named, json_schema_input_type=Column | TargetPost)]


class TaskPost(Body):
    type: Word = Field(description="See `GET /v1/tasks`.", examples=["classification"])
    target: Annotated[Column | None, BeforeValidator(_one)] = Field(
        None, description="The column to predict.", examples=["churn"]
    )
    targets: Annotated[list[Target], Field(max_length=1000)] | None = Field(
        None, description="multitask: the columns to predict, by name or with more to say of each.",
        examples=[["topic", {"name": "alike", "kind": "similarity", "columns": ["first", "second"]}]],
    )  # fmt: skip
    positive_class: Annotated[str, StringConstraints(max_length=1000)] | None = None
    ignore_columns: Annotated[list[Column], Field(max_length=20_000)] = []
    group_column: Column | None = Field(None, description="Rows of one group stay on one side of every split.")
    time_column: Column | None = Field(None, description="Orders the rows; validation is on later ones.")
    weight_column: Column | None = None
    horizon: Count | None = None
    known_covariates: Annotated[list[Column], Field(max_length=100)] = Field(
        [], description="forecasting: columns of numbers whose values are known for the steps ahead."
    )
    monotone: Annotated[
        dict[Column, Literal["increasing", "decreasing"]] | None,
        Field(
            max_length=1000,
            description="Numeric columns with which the answer (of two classes: the positive one's probability) may only rise, or only fall.",
        ),
    ] = None


class ObjectivePost(Body):
    metric: Annotated[Word, Field(description="See `GET /v1/metrics`.")] = "auto"
    quantiles: Annotated[
        list[float] | None,
        Field(
            max_length=25,
            description="Of a regression that predicts quantiles, each with a calibrated guarantee; see `docs/tasks/tables.md`.",
            examples=[[0.05, 0.5, 0.95]],
        ),
    ] = None


class ValidationPost(Body):
    method: Literal["auto", "cv", "holdout", "group", "time"] = "auto"
    folds: Annotated[int, Field(ge=2, le=50)] | None = None
    test_fraction: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    refit: Annotated[
        bool,
        Field(
            description="Train every configuration on all rows too, after it was measured without the test part, and let "
            "the delivered model answer with both."
        ),
    ] = True


class LimitsPost(Body):
    """The budget.  Seconds count only while the job is active; null means no such limit."""

    time_seconds: Seconds | None = 600.0
    trials: Count | None = None
    trial_seconds: Seconds | None = None
    concurrent_trials: Annotated[int, Field(ge=1, le=10_000)] | None = None
    memory_mb: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    patience_trials: Count | None = None
    target_score: Annotated[
        float | None, Field(ge=-1e300, le=1e300, description="A value of the metric, as people know it.")
    ] = None
    predict_ms_per_row: Annotated[float, Field(gt=0, le=1e9)] | None = None
    model_mb: Annotated[float, Field(gt=0, le=1e9)] | None = None


class NewLimits(LimitsPost):
    """The budget.  Seconds count only while the job is active; null means no such limit.

    With `trials` alone there is no time limit, and the same request gives the same trials and the same model.
    """

    @model_validator(mode="after")
    def _trials_alone(self) -> Self:
        if self.trials is not None and "time_seconds" not in self.model_fields_set:
            self.time_seconds = None
        return self


class SearchPost(Body):
    strategy: Annotated[Word, Field(description="See `GET /v1/strategies`.")] = "auto"
    families: Annotated[list[Word] | None, Field(max_length=1000, description="See `GET /v1/families`.")] = None
    optimizers: Annotated[list[Word], Field(max_length=100)] | None = None
    ensemble: bool = True


class JobPost(Body):
    """A request for a model.  Only `dataset_id` and `task.type` are always needed; every `auto` is shown resolved."""

    dataset_id: Annotated[str, StringConstraints(max_length=100)] = Field(
        examples=["ds_0198d3f0c2a97c3f8a51f0a9a4d1c0de"]
    )
    name: Name | None = None
    validation_dataset_id: Annotated[str, StringConstraints(max_length=100)] | None = None
    test_dataset_id: Annotated[str, StringConstraints(max_length=100)] | None = None
    task: TaskPost
    objective: ObjectivePost = ObjectivePost()
    validation: ValidationPost = ValidationPost()
    limits: NewLimits = NewLimits()
    search: SearchPost = SearchPost()
    device: Literal["auto", "cpu", "gpu"] = "auto"
    priority: Annotated[int, Field(ge=0, le=10, description="10 is served before 1.")] = 5
    warm_start_from: Annotated[str, StringConstraints(max_length=100)] | None = None
    tags: Tags = {}


class JobPatch(Body):
    """Only what is named changes.  Limits on an ended job reopen it: its trials stay and the search goes on."""

    limits: LimitsPost | None = None
    priority: Annotated[int, Field(ge=0, le=10)] | None = None
    name: Name | None = None
    tags: Tags | None = None


class TrialCounts(Answer):
    queued: int
    running: int
    completed: int
    stopped: int
    failed: int


class Progress(Answer):
    fraction: float = Field(description="0 to 1, of the limit that is nearest.")
    elapsed_seconds: float = Field(description="While the job was active; pauses do not count.")
    eta_seconds: float | None
    trials: TrialCounts


class Best(Answer):
    trial: int
    model_id: str | None = Field(description="The newest delivered model of the job.")
    metric: str
    value: float | None = Field(description="As people know it.")
    std: float | None


class Job(Answer):
    """One request for a model, and how far it came."""

    id: str = Field(examples=["job_0198d3f0c2a97c3f8a51f0a9a4d1c0de"])
    object: Literal["job"]
    name: str
    dataset_id: str
    status: JobStatusName
    phase: str
    stop_reason: str | None
    progress: Progress
    best: Best | None
    priority: int
    resolved: Json
    limits: Json
    warnings: list[Any]
    error: ErrorShape | None
    tags: Tags
    revision: int
    created_at: Time
    updated_at: Time
    started_at: Time | None
    finished_at: Time | None
    queue_position: int | None = Field(description="1 is next; null unless the job is queued.")
    links: dict[str, str]
    request: Json


class MemberShape(Answer):
    trial: int
    family: str
    weight: float


class BoardRow(Answer):
    """`score` is higher-is-better, the mean over the folds; `metrics` are values as people know them: the job's own is that
    mean, the others are of all validation rows together."""

    rank: int | None
    trial: int | None
    model_id: str | None
    family: str
    optimizer: str | None
    is_ensemble: bool
    members: list[MemberShape]
    score: float | None
    score_std: float | None
    fold_scores: list[float | None]
    metrics: dict[str, float | None]
    test_metrics: dict[str, float | None]
    fit_seconds: float | None
    predict_ms_per_row: float | None
    size_bytes: int | None
    status: TrialStatusName
    config: Json


class CurvePoint(Answer):
    step: int
    score: float | None


class TrialError(Answer):
    code: str
    message: str
    traceback: str | None = None


class Trial(BoardRow):
    """One configuration, trained."""

    number: int
    strategy: str
    note: str
    started_at: Time | None
    finished_at: Time | None
    device: str | None
    worker: str | None
    attempt: int
    max_steps: int
    learning_curve: list[CurvePoint]
    error: TrialError | None


class EventShape(Answer):
    """Something that happened to a job; numbered from 1 without gaps."""

    object: Literal["event"]
    job_id: str
    seq: int
    type: str = Field(examples=["trial.completed"])
    data: Json
    created_at: Time


class PlotRef(Answer):
    kind: str
    title: str
    href: str


class Figure(Answer):
    """A Plotly figure."""

    data: list[Json]
    layout: Json
