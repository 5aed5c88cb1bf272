"""Reading jobs, trials and events.  Writing them is the business of `app.store`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, or_, select

from app.db.paging import newest_first
from app.db.tables import EventRow, JobRow, ModelRow, TrialRow, table
from assay.search.lifecycle import ENDED

_J = table(JobRow)
_T = table(TrialRow)
_E = table(EventRow)
_M = table(ModelRow)
_ENDED = sorted(ENDED)

# all that the answer shows; the frozen spaces are long and never shown
SHOWN = [c for c in _J.c if c.name not in ("spaces", "traceparent", "lane", "exhausted", "restarted_at")] + [_J.c.lane]
_GET = select(*SHOWN).where(_J.c.id == bindparam("id"))  # built once: this is the statement that polls repeat


def get(connection: Connection, owner: str, id: str) -> Row[Any] | None:
    row = connection.execute(_GET, {"id": id}).one_or_none()
    return row if row is not None and row.owner == owner else None


def head(connection: Connection, owner: str, id: str) -> Row[Any] | None:
    """Only what says whose it is and how far it came."""
    columns: list[Any] = [_J.c.id, _J.c.status, _J.c.revision, _J.c.event_seq, _J.c.model_id]
    return connection.execute(select(*columns).where(_J.c.id == id, _J.c.owner == owner)).one_or_none()


def page(
    connection: Connection, owner: str, after: str | None, limit: int, status: Sequence[str] | None, dataset: str | None
) -> list[Row[Any]]:
    """Newest first; one more than the limit."""
    query = select(*SHOWN).where(_J.c.owner == owner)
    if status:
        query = query.where(_J.c.status.in_(status))
    if dataset is not None:
        query = query.where(_J.c.dataset_id == dataset)
    return newest_first(connection, query, _J.c.id, after, limit)


def queue_position(connection: Connection, row: Any) -> int:
    """1 for the job that is served next of its lane."""
    earlier = or_(_J.c.priority > row.priority, (_J.c.priority == row.priority) & (_J.c.id < row.id))
    ahead = select(func.count()).where(_J.c.status == "queued", _J.c.lane == row.lane, earlier)
    return int(connection.scalar(ahead) or 0) + 1


def unfinished(connection: Connection, owner: str) -> int:
    mine = (_J.c.owner == owner, _J.c.status.not_in(_ENDED))
    return int(connection.scalar(select(func.count()).select_from(_J).where(*mine)) or 0)


def revisions(connection: Connection, ids: Sequence[str]) -> dict[str, str]:
    found = connection.execute(select(_J.c.id, _J.c.revision).where(_J.c.id.in_(ids)))
    return {r.id: str(r.revision) for r in found}


def event_heads(connection: Connection, ids: Sequence[str]) -> dict[str, str]:
    """What changes with every event of a job, by id."""
    found = connection.execute(select(_J.c.id, _J.c.event_seq, _J.c.status).where(_J.c.id.in_(ids)))
    return {r.id: f"{r.event_seq}-{r.status}" for r in found}


def events(connection: Connection, job: str, after: int, limit: int) -> list[Row[Any]]:
    query = select(_E).where(_E.c.job_id == job, _E.c.seq > after).order_by(_E.c.seq).limit(limit)
    return list(connection.execute(query))


# all of a trial but its log
_TRIAL = [c for c in _T.c if c.name not in ("log", "token", "lease_until", "checkpoint_blob", "checkpoint_sha256")]


def trials(
    connection: Connection, job: str, after: int, limit: int, status: Sequence[str] | None = None
) -> list[Row[Any]]:
    query = select(*_TRIAL).where(_T.c.job_id == job, _T.c.number > after)
    if status:
        query = query.where(_T.c.status.in_(status))
    return list(connection.execute(query.order_by(_T.c.number).limit(limit + 1)))


def trial(connection: Connection, job: str, number: int) -> Row[Any] | None:
    return connection.execute(select(*_TRIAL).where(_T.c.job_id == job, _T.c.number == number)).one_or_none()


def best_configs(connection: Connection, job: str, limit: int) -> list[tuple[str, Any]]:
    """(family, config) of the best completed trials, best first; of equals the earlier one."""
    query = select(_T.c.family, _T.c.config).where(_T.c.job_id == job, _T.c.status == "completed")
    found = connection.execute(query.order_by(_T.c.score.desc(), _T.c.number).limit(limit))
    return [(row.family, row.config) for row in found]


def metric(connection: Connection, job: str) -> str:
    """Public name of the job's metric."""
    resolved = connection.scalar(select(_J.c.resolved).where(_J.c.id == job)) or {}
    return str(resolved.get("metric", ""))


def trial_log(connection: Connection, job: str, number: int) -> str | None:
    return connection.scalar(select(_T.c.log).where(_T.c.job_id == job, _T.c.number == number))


def ranked(connection: Connection, job: str) -> list[tuple[int, float]]:
    """(number, score) of the completed trials, best first; of equals the earlier one."""
    query = (
        select(_T.c.number, _T.c.score)
        .where(_T.c.job_id == job, _T.c.status == "completed", _T.c.score.is_not(None))
        .order_by(_T.c.score.desc(), _T.c.number)
    )
    return [(r.number, r.score) for r in connection.execute(query)]


def trials_by_number(connection: Connection, job: str, numbers: Sequence[int]) -> dict[int, Row[Any]]:
    query = select(*_TRIAL).where(_T.c.job_id == job, _T.c.number.in_(numbers))
    return {r.number: r for r in connection.execute(query)}


def plotted(connection: Connection, job: str) -> list[Row[Any]]:
    """What figures are drawn from, of every trial."""
    names = (
        "number",
        "family",
        "status",
        "score",
        "score_std",
        "started_at",
        "finished_at",
        "worker",
        "fit_seconds",
        "config",
    )
    query = select(*(_T.c[n] for n in names)).where(_T.c.job_id == job).order_by(_T.c.number)
    return list(connection.execute(query))


def curves(connection: Connection, job: str) -> list[Row[Any]]:
    names = ("number", "family", "status", "score", "curve")
    query = select(*(_T.c[n] for n in names)).where(_T.c.job_id == job).order_by(_T.c.number)
    return list(connection.execute(query))


def models(connection: Connection, job: str) -> list[Row[Any]]:
    """The delivered models of a job, the newest first."""
    names = ("id", "build", "kind", "manifest", "score", "size_bytes", "created_at")
    query = select(*(_M.c[n] for n in names)).where(_M.c.job_id == job).order_by(_M.c.id.desc())
    return list(connection.execute(query))
