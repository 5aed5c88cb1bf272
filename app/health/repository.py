"""Counts over the rows."""

from __future__ import annotations

from sqlalchemy import Connection, func, select, text

from app.db.tables import OPEN, ChoreRow, DatasetRow, JobRow, ModelRow, table

_J = table(JobRow)
_C = table(ChoreRow)


def alive(connection: Connection) -> None:
    connection.execute(text("SELECT 1"))


def jobs_by_status(connection: Connection) -> dict[str, int]:
    query = select(_J.c.status, func.count()).group_by(_J.c.status)
    return {str(status): int(n) for status, n in connection.execute(query)}


def queue(connection: Connection) -> dict[str, dict[str, int]]:
    """Lane -> jobs queued, trials queued and running, chores open."""
    lanes: dict[str, dict[str, int]] = {}
    queued = func.sum(_J.c.n_queued)
    running = func.sum(_J.c.n_running)
    unfinished = select(_J.c.lane, _J.c.status, func.count(), queued, running).where(
        _J.c.status.not_in(("succeeded", "failed", "cancelled"))
    )
    for lane, status, n, waiting, working in connection.execute(unfinished.group_by(_J.c.lane, _J.c.status)):
        found = lanes.setdefault(lane, _empty())
        found["jobs_queued"] += n if status == "queued" else 0
        found["trials_queued"] += int(waiting or 0)
        found["trials_running"] += int(working or 0)
    chores = select(_C.c.lane, func.count()).where(text(OPEN)).group_by(_C.c.lane)
    for lane, n in connection.execute(chores):
        lanes.setdefault(lane, _empty())["chores"] += n
    return lanes


def totals(connection: Connection) -> dict[str, int]:
    tables = {"datasets": table(DatasetRow), "models": table(ModelRow)}
    return {name: int(connection.scalar(select(func.count()).select_from(t)) or 0) for name, t in tables.items()}


def _empty() -> dict[str, int]:
    return {"jobs_queued": 0, "trials_queued": 0, "trials_running": 0, "chores": 0}
