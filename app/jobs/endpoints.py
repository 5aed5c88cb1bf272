"""`/v1/jobs` and what lies below a job."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, Response

from app import answers, etag
from app.db.engine import transaction
from app.deps import Caller, Live, record_answer
from app.describe import BINARY, STRING
from app.describe import answers as described
from app.errors import ApiError, Fault, closest, not_found
from app.jobs import board, service, view
from app.jobs import repository as rows
from app.jobs.pictures import png
from app.jobs.plots import KINDS, figure
from app.jobs.report import REPORT_CSP, report_html
from app.jobs.schemas import BoardRow, EventShape, Figure, Job, JobPatch, JobPost, JobStatusName, PlotRef, Trial
from app.longpoll import MAX_WAIT
from app.pages import After, Limit, after_number, page, whole
from app.route import Route
from app.schemas import Page
from app.sse import Batch, Event, stream
from app.watch import State, polled
from assay.search.lifecycle import ENDED

router = APIRouter(route_class=Route, tags=["jobs"])
JobId = Annotated[str, Path(description="`job_...`", examples=["job_0198d3f0c2a97c3f8a51f0a9a4d1c0de"])]
Number = Annotated[int, Path(ge=0, le=2**31 - 1, description="The trial's number in its job.", examples=[0])]
EXAMPLE = {
    "dataset_id": "ds_0198d3f0c2a97c3f8a51f0a9a4d1c0de",
    "task": {"type": "classification", "target": "churn"},
    "limits": {"time_seconds": 60},
}


@router.get(
    "/v1/jobs/{job_id}",
    summary="Get a job",
    responses=described(Job, "not_found", headers={"ETag": "of the present revision"})
    | {304: {"description": "Nothing changed since the state in If-None-Match"}},
)
async def get_job(
    request: Request,
    services: Live,
    caller: Caller,
    job_id: JobId,
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT, description="Seconds to wait for the next change.")] = 0,
) -> Response:
    """With `wait`, answers at the next change of the job, at once when it has ended, and when the time is over.

    With `If-None-Match` the change is counted from that state, and 304 says that there was none.
    """

    def read() -> State:
        job = service.get(services, caller, job_id)
        return State(job, str(job["revision"]), etag.weak(job["revision"]), job["status"] in ENDED)

    return await polled(request, services.changes, "job", job_id, wait, read)


@router.post(
    "/v1/jobs",
    status_code=202,
    summary="Ask for a model",
    responses=described(
        Job,
        "validation_error",
        "target_not_found",
        "too_few_rows",
        "single_class_target",
        "schema_mismatch",
        "not_found",
        "dataset_not_ready",
        "quota_exceeded",
        "rate_limited",
        "idempotency_in_progress",
        "idempotency_key_reused",
        status=202,
        text="Queued; the job is the operation",
        headers={"Location": "where the job is"},
    ),
    openapi_extra={"requestBody": {"content": {"application/json": {"example": EXAMPLE}}, "required": True}},
)
def create_job(
    request: Request,
    services: Live,
    caller: Caller,
    job: JobPost,
    traceparent: Annotated[
        str | None, Header(pattern=r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.{0,40}$")
    ] = None,
) -> Response:
    """Only `dataset_id` and `task.type` (and mostly `task.target`) are needed; `resolved` shows what was decided."""
    return service.create(services, caller, job.model_dump(), traceparent, functools.partial(record_answer, request))


@router.get("/v1/jobs", summary="List jobs", responses=described(Page[Job]))
def list_jobs(
    services: Live,
    caller: Caller,
    limit: Limit = 20,
    after: After = None,
    status: Annotated[list[JobStatusName] | None, Query(description="Only these; may be repeated.")] = None,
    dataset_id: Annotated[str | None, Query(max_length=100, description="Only those of one dataset.")] = None,
) -> Response:
    """Newest first."""
    found = service.page(services, caller, after, limit, status, dataset_id)
    return answers.json(page(found, limit, dict, lambda j: j["id"]))


@router.patch(
    "/v1/jobs/{job_id}",
    summary="Change or reopen a job",
    responses=described(
        Job, "not_found", "validation_error", "invalid_transition", "dataset_not_ready", "gone", "precondition_failed"
    ),
)
def patch_job(request: Request, services: Live, caller: Caller, job_id: JobId, change: JobPatch) -> Response:
    """Limits of a running job change at once.  On an ended job they reopen it: its trials stay, the search goes on."""
    job = service.patch(
        services,
        caller,
        job_id,
        change.model_dump(exclude_unset=True),
        lambda row: etag.check_if_match(request, etag.weak(row.revision)),
    )
    return answers.json(job, headers={"ETag": etag.weak(job["revision"])})


@router.delete(
    "/v1/jobs/{job_id}",
    status_code=204,
    summary="Delete an ended job",
    responses=described(None, "not_found", "invalid_transition", status=204, text="Gone; its models stay"),
)
def delete_job(services: Live, caller: Caller, job_id: JobId) -> Response:
    service.delete(services, caller, job_id)
    return Response(status_code=204)


_VERBS = {
    "cancel": ("Cancel a job", "Stop now.  Trials stay readable, and with one good trial there is a model."),
    "finish": ("Finish a job", "Stop searching now and keep the best: the ensemble is built and delivered."),
    "pause": ("Pause a job", "Running trials are given back unharmed; the clock stands still."),
    "resume": ("Resume a job", "Go on after a pause."),
}


def _verb(verb: str) -> None:
    summary, text = _VERBS[verb]

    @router.post(
        f"/v1/jobs/{{job_id}}/{verb}",
        status_code=202,
        summary=summary,
        description=f"{text}  Asking twice is harmless; an impossible move is 409 `invalid_transition`.",
        name=f"{verb}_job",
        responses=described(
            Job,
            "not_found",
            "invalid_transition",
            "idempotency_in_progress",
            "idempotency_key_reused",
            status=202,
            text="Asked for; see `status`",
        ),
    )
    def act(services: Live, caller: Caller, job_id: JobId) -> Response:
        job = service.act(services, caller, job_id, verb)
        return answers.json(job, 202, {"Location": job["links"]["self"]})


for _name in _VERBS:
    _verb(_name)


@router.get(
    "/v1/jobs/{job_id}/leaderboard", summary="The leaderboard", responses=described(Page[BoardRow], "not_found")
)
def get_leaderboard(services: Live, caller: Caller, job_id: JobId, limit: Limit = 20, after: After = None) -> Response:
    """Completed trials and the delivered ensemble, best first; `after` is a rank."""
    first = max(0, after_number(after))
    with transaction(services.engine, read_only=True) as connection:
        service.head_in(connection, caller, job_id)
        found = board.board(connection, job_id, first, limit)
    return answers.json(page(found, limit, dict, lambda r: r["rank"]))


@router.get("/v1/jobs/{job_id}/trials", summary="Trials", responses=described(Page[Trial], "not_found"))
def list_trials(
    services: Live,
    caller: Caller,
    job_id: JobId,
    limit: Limit = 20,
    after: After = None,
    status: Annotated[
        list[Literal["queued", "running", "completed", "stopped", "failed"]] | None,
        Query(description="Only these; may be repeated."),
    ] = None,
) -> Response:
    """By number; `after` is a number."""
    with transaction(services.engine, read_only=True) as connection:
        service.head_in(connection, caller, job_id)
        found = rows.trials(connection, job_id, after_number(after), limit, status)
        ranks, models = _ranks(connection, job_id)
        metric = rows.metric(connection, job_id)

    def shown(row: Any) -> dict[str, Any]:
        return board.trial_json(row, ranks.get(row.number), models.get(row.number), metric)

    return answers.json(page(found, limit, shown, lambda r: r.number))


@router.get("/v1/jobs/{job_id}/trials/{number}", summary="One trial", responses=described(Trial, "not_found"))
def get_trial(services: Live, caller: Caller, job_id: JobId, number: Number) -> Response:
    with transaction(services.engine, read_only=True) as connection:
        service.head_in(connection, caller, job_id)
        row = rows.trial(connection, job_id, number)
        ranks, models = _ranks(connection, job_id)
        metric = rows.metric(connection, job_id)
    if row is None:
        raise not_found("trial", f"{job_id}/{number}")
    return answers.json(board.trial_json(row, ranks.get(number), models.get(number), metric))


@router.get(
    "/v1/jobs/{job_id}/trials/{number}/log",
    summary="What a trial printed",
    responses=described(None, "not_found", media={"text/plain": STRING}),
)
def get_trial_log(services: Live, caller: Caller, job_id: JobId, number: Number) -> Response:
    with transaction(services.engine, read_only=True) as connection:
        service.head_in(connection, caller, job_id)
        log = rows.trial_log(connection, job_id, number)
    if log is None:
        raise not_found("trial", f"{job_id}/{number}")
    return Response(log, media_type="text/plain; charset=utf-8")


def _ranks(connection: Any, job_id: str) -> tuple[dict[int, int], Any]:
    """Trial -> rank among the completed trials, and trial -> model."""
    ranked = rows.ranked(connection, job_id)
    return {number: i for i, (number, _) in enumerate(ranked, 1)}, board.single_models(rows.models(connection, job_id))


@router.get(
    "/v1/jobs/{job_id}/events",
    summary="What happened: a page, or a stream",
    responses=described(
        Page[EventShape],
        "not_found",
        media={"text/event-stream": {"type": "string"}},
        text="A page; a stream when asked",
    )
    | {204: {"description": "A stream was asked for, and nothing can follow the event in Last-Event-ID"}},
)
async def get_events(
    request: Request,
    services: Live,
    caller: Caller,
    job_id: JobId,
    limit: Limit = 20,
    after: After = None,
    last_event_id: Annotated[
        str | None, Header(max_length=20, description="Of a stream: go on after this event.")
    ] = None,
) -> Response:
    """Events are numbered from 1 without gaps; `after` is a number.

    With `Accept: text/event-stream` it is a stream of server-sent events, each with its number as `id`; it ends after
    the last event of a job that has ended, and `Last-Event-ID` resumes it without gap or duplicate.
    """
    if "text/event-stream" in request.headers.get("accept", ""):
        return await _event_stream(
            services, caller, job_id, _last_event(last_event_id, after), last_event_id is not None
        )

    def read() -> Response:
        with transaction(services.engine, read_only=True) as connection:
            service.head_in(connection, caller, job_id)
            found = rows.events(connection, job_id, max(0, after_number(after)), limit + 1)
        return answers.json(page(found, limit, view.event_json, lambda e: e.seq))

    return await run_in_threadpool(read)


async def _event_stream(services: Live, caller: Caller, job_id: str, after: int, resumed: bool) -> Response:
    head = await run_in_threadpool(service.head, services, caller, job_id)
    if resumed and head.status in ENDED and after >= head.event_seq:
        return Response(status_code=204)  # tells an EventSource not to connect again

    def look(after: int, limit: int) -> Batch:
        with transaction(services.engine, read_only=True) as connection:
            now = rows.head(connection, caller.owner, job_id)
            if now is None:
                return Batch((), "", ended=True)
            found = [Event(e.seq, e.type, view.event_json(e)) for e in rows.events(connection, job_id, after, limit)]
        last = found[-1].seq if found else after
        return Batch(found, f"{now.event_seq}-{now.status}", now.status in ENDED and last >= now.event_seq)

    async def read(after: int, limit: int) -> Batch:
        return await run_in_threadpool(look, after, limit)

    async def changed(tag: str, seconds: float) -> bool:
        return await services.changes.wait("events", job_id, tag, seconds)

    return stream(after, read, changed)


def _last_event(header: str | None, after: str | None) -> int:
    if header is None or header == "":
        return max(0, after_number(after))
    if not header.isascii() or not header.isdigit():
        message = f"must be the number of an event, not {header!r}"
        raise ApiError(
            "validation_error",
            f"Last-Event-ID {message}",
            errors=[Fault("header:Last-Event-ID", "validation_error", message)],
        )
    return min(int(header), 2**62)


@router.get("/v1/jobs/{job_id}/plots", summary="The figures there are", responses=described(Page[PlotRef], "not_found"))
def list_plots(services: Live, caller: Caller, job_id: JobId) -> Response:
    service.head(services, caller, job_id)
    base = f"{services.settings.root_path}/v1/jobs/{job_id}/plots"
    return answers.json(whole([{"kind": k, "title": title, "href": f"{base}/{k}"} for k, title in KINDS.items()]))


@router.get(
    "/v1/jobs/{job_id}/plots/{kind}",
    summary="A figure",
    responses=described(Figure, "not_found", media={"image/png": BINARY}),
)
def get_plot(
    request: Request,
    services: Live,
    caller: Caller,
    job_id: JobId,
    kind: Annotated[str, Path(max_length=40, examples=["history"])],
) -> Response:
    """Plotly figure JSON made from the rows; a picture with `Accept: image/png`."""
    with transaction(services.engine, read_only=True) as connection:
        job = service.find(connection, caller, job_id)
        if kind not in KINDS:
            raise ApiError("not_found", f"{kind!r} is not a figure; {closest(kind, KINDS)}")
        drawn = figure(connection, job, kind)
    if "image/png" in request.headers.get("accept", ""):
        return Response(png(drawn), media_type="image/png")
    return answers.json(drawn)


@router.get(
    "/v1/jobs/{job_id}/report",
    summary="One page that tells it all",
    responses=described(None, "not_found", media={"text/html": {"type": "string"}}),
)
def get_report(services: Live, caller: Caller, job_id: JobId) -> Response:
    """A self-contained HTML page: no script, nothing loaded from anywhere."""
    with transaction(services.engine, read_only=True) as connection:
        job = service.find(connection, caller, job_id)
        page_ = report_html(connection, job, services.clock())
    return HTMLResponse(page_, headers={"Content-Security-Policy": REPORT_CSP})
