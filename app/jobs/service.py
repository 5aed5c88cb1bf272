"""What can be asked of jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row
from starlette.responses import Response

from app.accounts.service import Principal
from app.answers import accepted
from app.datasets import repository as dataset_rows
from app.datasets.service import check_ready
from app.db.engine import glance, transaction
from app.deps import Services
from app.errors import ApiError, Fault, closest, not_found, of_spec_error
from app.ids import is_id
from app.jobs import repository as rows
from app.jobs import view
from assay.errors import SpecError
from assay.search.lifecycle import ENDED
from assay.search.plan import Limits

MOST_UNFINISHED = 10_000  # jobs of one owner that have not ended: a loop gone wild must not bury the others
WARM_STARTS = 12  # of an earlier job's trials that a new one begins with


def create(
    services: Services,
    caller: Principal,
    request: Mapping[str, Any],
    traceparent: str | None,
    record: Callable[[Connection, Response], None],
) -> Response:
    """Check the request against the dataset, decide every `auto`, queue the job, ring the bell: 202."""
    from assay.families import spaces_of
    from assay.spec import limits_of, with_parts

    dataset = _dataset(services, caller, request["dataset_id"])
    spec, resolved = resolve(request, dataset)
    others = {
        role: _dataset(services, caller, request[f"{role}_dataset_id"], f"/{role}_dataset_id")
        for role in ("validation", "test")
        if request.get(f"{role}_dataset_id") is not None
    }
    for role, other in others.items():
        _check_columns(dataset, other, resolved, f"/{role}_dataset_id")
    counts = [others[role].rows if role in others else None for role in ("validation", "test")]
    resolved = with_parts(resolved, dataset.rows, *counts)
    if request.get("warm_start_from") is not None:
        resolved = _warm_started(services, caller, request["warm_start_from"], resolved)
    name = request.get("name") or f"{dataset.name}: {resolved.target or resolved.task}"[:200]
    with transaction(services.engine) as connection:
        # looked at again under the lock: a job must not begin on a dataset that was deleted or re-read meanwhile
        present = dataset_rows.get(connection, caller.owner, dataset.id, keep=True)
        if present is None:
            raise not_found("dataset", dataset.id)
        check_ready(present)
        for other in others.values():
            if dataset_rows.get(connection, caller.owner, other.id, keep=True) is None:
                raise not_found("dataset", other.id)
        waiting = rows.unfinished(connection, caller.owner)
        if waiting >= MOST_UNFINISHED:
            text = (
                f"{waiting:,} of your jobs have not ended, and {MOST_UNFINISHED:,} may wait; cancel some or await them"
            )
            raise ApiError("quota_exceeded", text, headers={"Retry-After": "60"})
        job = services.store.create_job(
            owner=caller.owner,
            name=name,
            dataset_id=dataset.id,
            request=request,
            resolved=resolved.to_json(),
            spaces=spaces_of(resolved.families, resolved.options.get("optimizers")),
            limits=limits_of(spec.limits, resolved.greater_is_better),
            seed=resolved.seed,
            lane=resolved.lane,
            priority=request["priority"],
            tags=request["tags"],
            warnings=_warnings(dataset, resolved.target),
            traceparent=traceparent,
            connection=connection,
        )
        body = _shown(services, connection, rows.get(connection, caller.owner, job))
        answer = accepted(body, f"{services.settings.root_path}/v1/jobs/{job}")
        record(connection, answer)
    services.bell.ring(resolved.lane)
    return answer


def resolve(request: Mapping[str, Any], dataset: Any) -> tuple[Any, Any]:
    """(JobSpec, Resolved).  Raises ApiError with the pointer of the field at fault."""
    from assay.data.profile import Profile
    from assay.spec import JobSpec
    from assay.spec import resolve as resolve_spec

    try:
        spec = JobSpec.from_json(request)
        return spec, resolve_spec(spec, Profile.from_json(dataset.profile or {}))
    except SpecError as error:
        message = str(error).replace("of the dataset", f"of {dataset.filename or dataset.name}")
        raise of_spec_error(SpecError(message, pointer=error.pointer, code=error.code)) from None


def _dataset(services: Services, caller: Principal, id: str, pointer: str = "/dataset_id") -> Row[Any]:
    with transaction(services.engine, read_only=True) as connection:
        row = dataset_rows.get_whole(connection, caller.owner, id) if is_id("ds", id) else None
    if row is None:
        text = f"there is no dataset {id!r}; GET /v1/datasets lists yours"
        raise ApiError("not_found", text, errors=[Fault(pointer, "not_found", text)])
    check_ready(row)
    return row


def _check_columns(dataset: Any, other: Any, resolved: Any, pointer: str) -> None:
    """The other dataset must have every column that the job reads.  Raises schema_mismatch."""
    there = [c["name"] for c in other.columns or []]
    roles = (resolved.target, resolved.group_column, resolved.time_column, resolved.weight_column)
    wanted = [c["name"] for c in dataset.columns or [] if c["name"] in {*resolved.features, *roles}]
    lacking = [name for name in wanted if name not in there]
    if lacking:
        text = f"{other.name} has no column {lacking[0]!r}, which {dataset.name} has; {closest(lacking[0], there)}"
        raise ApiError("schema_mismatch", text, errors=[Fault(pointer, "schema_mismatch", text)])


def _warm_started(services: Services, caller: Principal, job: str, resolved: Any) -> Any:
    """The best configurations of an earlier job, to be tried again first.  Raises not_found."""
    with transaction(services.engine, read_only=True) as connection:
        if not is_id("job", job) or rows.head(connection, caller.owner, job) is None:
            text = f"there is no job {job!r}; GET /v1/jobs lists yours"
            raise ApiError("not_found", text, errors=[Fault("/warm_start_from", "not_found", text)])
        found = rows.best_configs(connection, job, WARM_STARTS)
    starts = [{"family": f, "config": dict(c)} for f, c in found if f in resolved.families]
    text = f"starts with {len(starts)} configurations of {job}"
    if len(starts) < len(found):
        text += f"; {len(found) - len(starts)} of its best belong to families that this job does not search"
    options = {**resolved.options, "warm_starts": starts}
    return replace(resolved, options=options, because=(*resolved.because, text))


def _warnings(dataset: Any, target: str) -> list[Any]:
    """What the reader noticed about the target or the whole file."""
    return [w for w in dataset.warnings or [] if w.get("column") in (None, target)]


def get(services: Services, caller: Principal, id: str) -> dict[str, Any]:
    """The job in the words of the API, from one read (and one more for its place in the queue)."""
    with glance(services.engine) as connection:
        return _shown(services, connection, find(connection, caller, id))


def find(connection: Connection, caller: Principal, id: str) -> Row[Any]:
    row = rows.get(connection, caller.owner, id) if is_id("job", id) else None
    if row is None:
        raise not_found("job", id)
    return row


def head(services: Services, caller: Principal, id: str) -> Row[Any]:
    """Whether the job is there and the caller's; how far it came."""
    with transaction(services.engine, read_only=True) as connection:
        return head_in(connection, caller, id)


def head_in(connection: Connection, caller: Principal, id: str) -> Row[Any]:
    row = rows.head(connection, caller.owner, id) if is_id("job", id) else None
    if row is None:
        raise not_found("job", id)
    return row


def page(
    services: Services,
    caller: Principal,
    after: str | None,
    limit: int,
    status: Sequence[str] | None,
    dataset: str | None,
) -> list[dict[str, Any]]:
    """Up to limit + 1 jobs."""
    if dataset is not None and not is_id("ds", dataset):
        return []
    with transaction(services.engine, read_only=True) as connection:
        found = rows.page(connection, caller.owner, after, limit, status, dataset)
        return [_shown(services, connection, row) for row in found]


def _shown(services: Services, connection: Connection, row: Any) -> dict[str, Any]:
    position = rows.queue_position(connection, row) if row.status == "queued" else None
    return view.to_json(row, services.clock(), position, services.settings.root_path)


def act(services: Services, caller: Principal, id: str, verb: str) -> dict[str, Any]:
    """cancel, finish, pause or resume.  Raises invalid_transition naming the present status."""
    present = head(services, caller, id)
    try:
        services.store.request(id, verb)
    except KeyError:
        raise not_found("job", id) from None
    except ValueError as error:
        raise ApiError("invalid_transition", f"{error} (status: {present.status})") from None
    job = get(services, caller, id)
    services.bell.ring(job["resolved"].get("lane", "cpu"))
    return job


def patch(
    services: Services, caller: Principal, id: str, change: Mapping[str, Any], check: Callable[[Any], None]
) -> dict[str, Any]:
    """Name, tags, priority and limits; limits on an ended job reopen it."""
    from assay.spec import reopened

    with transaction(services.engine, read_only=True) as connection:
        row = find(connection, caller, id)
        check(row)
        dataset = dataset_rows.get(connection, caller.owner, row.dataset_id)
    limits = None
    if change.get("limits"):
        known = Limits(**row.limits)
        limits = reopened(known, change["limits"], row.resolved.get("greater_is_better", True))
        if limits.time_seconds is None and limits.trials is None:
            text = "give the job an end: limits.time_seconds or limits.trials"
            raise ApiError("validation_error", text, errors=[Fault("/limits", "no_end", text)])
    ended = row.status in ENDED
    if ended and limits is not None:
        if dataset is None or dataset.content_blob is None:
            raise ApiError("gone", f"the dataset {row.dataset_id} was deleted, so this job cannot be reopened")
        check_ready(dataset)
    values = {k: change[k] for k in ("priority", "name", "tags") if change.get(k) is not None}
    if not (ended and limits is not None):
        values["limits"] = limits
    try:
        services.store.update_job(id, **values)
        if ended and limits is not None:
            services.store.reopen(id, limits)
    except KeyError:
        raise not_found("job", id) from None
    except ValueError as error:
        raise ApiError("invalid_transition", f"{error}; read the job again") from None
    services.bell.ring(row.lane)
    return get(services, caller, id)


def delete(services: Services, caller: Principal, id: str) -> None:
    """A job that has ended, with its trials and events; its models stay."""
    row = head(services, caller, id)
    if row.status not in ENDED:
        raise ApiError(
            "invalid_transition",
            f"the job is {row.status}; cancel it with POST /v1/jobs/{id}/cancel and delete it then",
        )
    try:
        services.store.delete_job(id)
    except KeyError:
        raise not_found("job", id) from None
