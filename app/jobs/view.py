"""A job's row in the words of the API.  A pure function: it is called for every poll."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from app.answers import finite, time
from assay.metrics import METRICS
from assay.search.lifecycle import ENDED

VERBS = ("cancel", "finish", "pause", "resume")


def to_json(row: Any, now: datetime, queue_position: int | None, root: str = "") -> dict[str, Any]:
    """The REST shape.  row: the columns of `repository.SHOWN`."""
    elapsed = elapsed_seconds(row, now)
    ended = row.status in ENDED
    counts = {
        "queued": row.n_queued,
        "running": row.n_running,
        "completed": row.n_completed,
        "stopped": row.n_stopped,
        "failed": row.n_failed,
    }
    fraction, eta = progress(row.limits, elapsed, row.n_completed + row.n_stopped + row.n_failed)
    return {
        "id": row.id,
        "object": "job",
        "name": row.name,
        "dataset_id": row.dataset_id,
        "status": row.status,
        "phase": row.phase,
        "stop_reason": row.stop_reason,
        "progress": {
            "fraction": 1.0 if ended else round(fraction, 4),
            "elapsed_seconds": round(elapsed, 3),
            "eta_seconds": 0.0 if ended else (None if row.status in ("queued", "paused") else eta),
            "trials": counts,
        },
        "best": best(row),
        "priority": row.priority,
        "resolved": row.resolved,
        "limits": public_limits(row.limits, row.resolved),
        "warnings": row.warnings or [],
        "error": row.error,
        "tags": row.tags or {},
        "revision": row.revision,
        "created_at": time(row.created_at),
        "updated_at": time(row.updated_at),
        "started_at": time(row.started_at),
        "finished_at": time(row.finished_at),
        "queue_position": queue_position,
        "links": links(row, root),
        "request": row.request,
    }


def elapsed_seconds(row: Any, now: datetime) -> float:
    running = (now - row.active_since).total_seconds() if row.active_since is not None else 0.0
    return float(max(0.0, row.active_seconds + running))


def progress(limits: Mapping[str, Any], elapsed: float, ended_trials: int) -> tuple[float, float | None]:
    """(share of the nearest limit that is used up, seconds until it is reached if that can be told)."""
    shares: list[float] = []
    etas: list[float] = []
    seconds, trials = limits.get("time_seconds"), limits.get("trials")
    if seconds:
        shares.append(elapsed / seconds)
        etas.append(max(0.0, seconds - elapsed))
    if trials:
        shares.append(ended_trials / trials)
        if ended_trials:
            etas.append(max(0, trials - ended_trials) * elapsed / ended_trials)
    return min(0.999, max(shares, default=0.0)), round(min(etas), 1) if etas else None


def best(row: Any) -> dict[str, Any] | None:
    if row.best_trial is None:
        return None
    metric = row.resolved["metric"]
    return {
        "trial": row.best_trial,
        "model_id": row.model_id,
        "metric": metric,
        "value": public(metric, row.best_score),
        "std": finite(row.best_std),
    }


def public(metric: str, score: float | None) -> float | None:
    """A score as people know it."""
    score = finite(score)
    if score is None or metric not in METRICS:
        return score
    return METRICS[metric].to_public(score) + 0.0  # no negative zero


def public_limits(limits: Mapping[str, Any], resolved: Mapping[str, Any]) -> dict[str, Any]:
    """The budget that counts now, with the target as a value of the metric."""
    target = limits.get("target_score")
    shown = dict(limits)
    if target is not None and not resolved.get("greater_is_better", True):
        shown["target_score"] = -target
    return shown


def links(row: Any, root: str) -> dict[str, str]:
    base = f"{root}/v1/jobs/{row.id}"
    found = {"self": base, "dataset": f"{root}/v1/datasets/{row.dataset_id}"}
    found |= {name: f"{base}/{name}" for name in ("leaderboard", "trials", "events", "plots", "report", *VERBS)}
    if row.model_id is not None:
        found["model"] = f"{root}/v1/models/{row.model_id}"
    return found


def event_json(row: Any) -> dict[str, Any]:
    return {
        "object": "event",
        "job_id": row.job_id,
        "seq": row.seq,
        "type": row.type,
        "data": row.data,
        "created_at": time(row.created_at),
    }
