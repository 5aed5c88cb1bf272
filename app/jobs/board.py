"""The leaderboard: finished trials and the delivered ensemble in one ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from app.answers import finite, time
from app.jobs import repository as rows
from app.jobs.view import public


def board(connection: Connection, job: str, after: int, limit: int) -> list[dict[str, Any]]:
    """Rows with rank > after, best first; one more than the limit."""
    ranked = rows.ranked(connection, job)
    models = rows.models(connection, job)
    ensemble = next((m for m in models if is_ensemble(m)), None)
    entries: list[tuple[float, int | None]] = [(score, number) for number, score in ranked]
    if ensemble is not None and ensemble.score is not None:
        entries.insert(_place(ranked, ensemble.score), (ensemble.score, None))
    elif ensemble is not None:
        entries.append((float("-inf"), None))
    chosen = list(enumerate(entries, 1))[max(0, after) : max(0, after) + limit + 1]
    trials = rows.trials_by_number(connection, job, [number for _, (_, number) in chosen if number is not None])
    single = single_models(models)
    metric = rows.metric(connection, job)
    return [
        ensemble_row(ensemble, rank, metric)
        if number is None
        else trial_row(trials[number], rank, single.get(number), metric)
        for rank, (_, number) in chosen
        if number is None or number in trials
    ]


def trial_json(row: Any, rank: int | None, model_id: str | None, metric: str) -> dict[str, Any]:
    """A trial on its own: its row on the board and the rest of what is known.  metric: the job's."""
    return trial_row(row, rank, model_id, metric) | {
        "number": row.number,
        "strategy": row.strategy,
        "note": row.note,
        "started_at": time(row.started_at),
        "finished_at": time(row.finished_at),
        "device": row.device,
        "worker": row.worker,
        "attempt": row.attempt,
        "max_steps": row.max_steps,
        "learning_curve": [{"step": step, "score": score} for step, score in row.curve or []],
        "error": row.error,
    }


def trial_row(row: Any, rank: int | None, model_id: str | None, metric: str) -> dict[str, Any]:
    return {
        "rank": rank,
        "trial": row.number,
        "model_id": model_id,
        "family": row.family,
        "optimizer": _optimizer(row.config),
        "is_ensemble": False,
        "members": [],
        "score": finite(row.score),
        "score_std": finite(row.score_std),
        "fold_scores": row.fold_scores or [],
        "metrics": _as_ranked(row.metrics or {}, metric, row.score),
        "test_metrics": row.test_metrics or {},
        "fit_seconds": finite(row.fit_seconds, 4),
        "predict_ms_per_row": finite(row.predict_ms_per_row),
        "size_bytes": row.size_bytes,
        "status": row.status,
        "config": row.config,
    }


def ensemble_row(model: Any, rank: int, metric: str) -> dict[str, Any]:
    manifest = model.manifest
    info = manifest.get("info", {})
    return {
        "rank": rank,
        "trial": None,
        "model_id": model.id,
        "family": "ensemble",
        "optimizer": None,
        "is_ensemble": True,
        "members": manifest.get("members", []),
        "score": finite(model.score),
        "score_std": finite(info.get("score_std")),
        "fold_scores": info.get("fold_scores", []),
        "metrics": _as_ranked(manifest.get("metrics", {}), metric, model.score),
        "test_metrics": manifest.get("test_metrics", {}),
        "fit_seconds": finite(info.get("fit_seconds")),
        "predict_ms_per_row": finite(info.get("predict_ms_per_row")),
        "size_bytes": model.size_bytes,
        "status": "completed",
        "config": {},
    }


def is_ensemble(model: Any) -> bool:
    return len(model.manifest.get("members", ())) > 1


def single_models(models: Sequence[Any]) -> Mapping[int, str]:
    """Trial number -> the newest model that is this trial alone."""
    found: dict[int, str] = {}
    for model in models:
        members = model.manifest.get("members", ())
        if len(members) == 1:
            found.setdefault(members[0]["trial"], model.id)
    return found


def _place(ranked: Sequence[tuple[int, float]], score: float) -> int:
    """Where a score stands in a falling list; before its equals."""
    return sum(s > score for _, s in ranked)


def _as_ranked(metrics: Mapping[str, Any], metric: str, score: float | None) -> dict[str, Any]:
    """The job's own metric as the mean over folds, by which rows are ranked; over all validation rows together, as the
    others are, it may differ a little, and the first row would look worse than the second."""
    return {**metrics, metric: public(metric, score)} if metric in metrics else dict(metrics)


def _optimizer(config: Mapping[str, Any]) -> str | None:
    found = config.get("optimizer")
    return found if isinstance(found, str) else None
