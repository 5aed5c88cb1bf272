"""How the service is doing."""

from __future__ import annotations

import importlib.metadata
import platform
from functools import cache
from typing import Any

from app.answers import time
from app.db.engine import transaction
from app.deps import Services
from app.errors import ApiError
from app.health import repository as rows
from app.health.metrics import gauge


@cache
def version() -> str:
    try:
        return importlib.metadata.version("assay-automl")
    except importlib.metadata.PackageNotFoundError:
        return "0+unknown"


def version_json() -> dict[str, Any]:
    return {"name": "assay", "version": version(), "api": "v1", "python": platform.python_version()}


def ready(services: Services) -> dict[str, Any]:
    """Raises DatabaseUnavailable or capacity_unavailable, which answer 503."""
    with transaction(services.engine, read_only=True) as connection:
        rows.alive(connection)
    if not services.warmed.is_set():
        text = "the API is still importing what jobs need; try again in a moment"
        raise ApiError("capacity_unavailable", text, headers={"Retry-After": "1"})
    checks = {"database": "ok"}
    if services.settings.embedded and "none" not in services.settings.lanes:
        if not services.store.workers():
            text = "no worker is ready yet; it is still warming up, try again in a moment"
            raise ApiError("capacity_unavailable", text, headers={"Retry-After": "1"})
        checks["worker"] = "ok"
    return {"status": "ok", "checks": checks}


def system(services: Services) -> dict[str, Any]:
    with transaction(services.engine, read_only=True) as connection:
        queue = rows.queue(connection)
    workers = services.store.workers()
    settings = services.settings
    return {
        "object": "system",
        "version": version(),
        "mode": "embedded" if settings.embedded else "distributed",
        "database": services.engine.dialect.name,
        "workers": [
            {
                "id": w.id,
                "lane": w.lane,
                "slots": w.slots,
                "busy": w.busy,
                "devices": w.devices,
                "version": w.version,
                "started_at": time(w.started_at),
                "seen_at": time(w.seen_at),
            }
            for w in workers
        ],
        "devices": [d for w in workers for d in w.devices],
        "queue": queue,
        "limits": {"max_upload_bytes": settings.max_upload_bytes, "posts_per_minute": settings.rate_limit or None},
        "auth": settings.auth,
        "time": time(services.clock()),
    }


def prometheus(services: Services) -> str:
    with transaction(services.engine, read_only=True) as connection:
        jobs, queue, totals = rows.jobs_by_status(connection), rows.queue(connection), rows.totals(connection)
    workers = services.store.workers()
    lines = list(services.counters.lines())
    lines += gauge("assay_jobs", "Jobs by status.", {(("status", s),): n for s, n in jobs.items()})
    depth: dict[tuple[tuple[str, Any], ...], float] = {
        (("lane", lane), ("kind", kind)): n for lane, found in queue.items() for kind, n in found.items()
    }
    lines += gauge("assay_queue", "Work that waits or runs, by lane.", depth)
    lines += gauge("assay_rows", "Datasets and models stored.", {(("kind", k),): n for k, n in totals.items()})
    for name, about in (("slots", "Places for trials."), ("busy", "Places in use.")):
        by_lane: dict[tuple[tuple[str, Any], ...], float] = {}
        for w in workers:
            key = (("lane", w.lane),)
            by_lane[key] = by_lane.get(key, 0) + getattr(w, name)
        lines += gauge(f"assay_worker_{name}", about, by_lane)
    lines += gauge("assay_workers", "Workers alive.", {(): len(workers)})
    lines += gauge("assay_info", "The version that runs.", {(("version", version()),): 1})
    return "\n".join(lines) + "\n"
