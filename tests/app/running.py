"""A running API for the tests of its routes: the application, rows a worker would have written, a small real model."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import uvicorn
from starlette.testclient import TestClient

from app.config import Settings
from app.deps import Services
from app.ids import new_id
from app.main import create_app
from assay.data.table import ColumnType
from assay.search.plan import BuildModel, FinishJob, Limits
from assay.search.store import Claim, Outcome, Started
from assay.search.trial import Proposal, Report, TrialStatus
from assay.space import Space

CSV = b"age,plan,churn\n41,a,yes\n25,b,no\n"
TARGET = {"type": "classification", "target": "churn"}
COLUMNS = [("age", "integer", 60), ("plan", "category", 2), ("churn", "boolean", 2)]


@contextmanager
def running(url: str, home: Path, **changes: Any) -> Iterator[tuple[TestClient, Services]]:
    """A client of the application over a migrated database, and the application's parts."""
    settings = Settings.from_env({}, home=home, database_url=url, **changes)
    app = create_app(settings)
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        yield client, app.state.services


@contextmanager
def listening(url: str, home: Path, **changes: Any) -> Iterator[tuple[str, Services]]:
    """The same behind a real socket, where streaming matters: (address, parts)."""
    settings = Settings.from_env({}, home=home, database_url=url, **changes)
    app = create_app(settings)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", app.state.services
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


def upload(api: TestClient, content: bytes = CSV, **headers: str) -> dict[str, Any]:
    answer = api.post("/v1/datasets?name=train.csv", content=content, headers={"Content-Type": "text/csv", **headers})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def mark_ready(services: Services, dataset: str, rows: int = 500, target_classes: int = 2) -> None:
    """What a worker writes after it read the file."""
    columns = [{"name": n, "type": t, "missing": 0, "distinct": d} for n, t, d in COLUMNS]
    columns[-1]["distinct"] = target_classes
    profile = {"n_rows": rows, "columns": [{**c, "example": None, "statistics": {}} for c in columns]}
    shown = [{**c, "example": None} for c in columns]
    claim = services.store.claim("worker-1", "cpu", 1 << 30)
    assert claim is not None and (claim.kind, claim.ref) == ("validate", dataset)
    assert services.store.finish_chore(claim, 0.1, rows=rows, columns=shown, profile=profile)


def ready_dataset(api: TestClient, services: Services, **headers: str) -> str:
    dataset = str(upload(api, **headers)["id"])
    mark_ready(services, dataset)
    return dataset


def new_job(services: Services, owner: str = "local", **changes: Any) -> str:
    """A queued job written through the store, as the endpoint does."""
    resolved = {"task": "classification", "kind": "binary", "target": "churn", "metric": "log_loss", "lane": "cpu"}
    values: dict[str, Any] = {
        "owner": owner,
        "name": "churn",
        "dataset_id": new_id("ds"),
        "request": {"task": TARGET},
        "resolved": {**resolved, "greater_is_better": False, "because": ["as a test wants it"], "left_out": []},
        "spaces": {"toy": Space(())},
        "limits": Limits(time_seconds=60.0),
    }
    return services.store.create_job(**values | changes)


def start_trials(services: Services, job: str, n: int, family: str = "toy") -> list[Claim]:
    """n trials proposed and claimed."""
    proposals = tuple(Proposal(family, {"rate": 0.1 * (i + 1), "optimizer": "adam"}, "drawn") for i in range(n))
    revision = services.store.snapshot(job).revision
    assert services.store.apply(job, revision, [Started(proposals, "random", (5,) * n)])
    claims = [services.store.claim("worker-1", "cpu", 1 << 30) for _ in range(n)]
    return [c for c in claims if c is not None]


def end_trial(services: Services, claim: Claim, score: float | None, **changes: Any) -> None:
    if score is None:
        values: dict[str, Any] = {
            "error": {"code": "crashed", "message": "it died", "traceback": "..."},
            "log": "boom\n",
        }
    else:
        values = {
            "score": score,
            "score_std": 0.01,
            "fold_scores": (score, score),
            "curve": (Report(1, score - 0.2), Report(5, score)),
            "max_steps": 5,
            "seconds": 1.5,
            "metrics": {"log_loss": -score},
            "log": "epoch 1\n",
        }
    status = TrialStatus.COMPLETED if score is not None else TrialStatus.FAILED
    assert services.store.finish(claim, Outcome(status, **values | changes))


def end_job(services: Services, job: str, status: Any) -> None:
    revision = services.store.snapshot(job).revision
    assert services.store.apply(job, revision, [FinishJob(status, None)])


def deliver(services: Services, job: str, members: Sequence[tuple[int, str, float]], score: float) -> str:
    """A model of the job, stored and published as a worker does; returns its id."""
    revision = services.store.snapshot(job).revision
    assert services.store.apply(job, revision, [BuildModel(final=True)])
    claim = services.store.claim("worker-1", "cpu", 1 << 30)
    assert claim is not None and claim.kind == "build"
    onnx, bundle, manifest = small_model(tuple(members))
    stored, graph = services.storage.put(bundle), services.storage.put(onnx)
    model = new_id("mdl")
    values = {
        "owner": "local",
        "name": "churn",
        "description": "",
        "aliases": [],
        "kind": manifest["kind"],
        "task": manifest["task"],
        "manifest": manifest,
        "score": score,
        "bundle_blob": stored.id,
        "onnx_blob": graph.id,
        "size_bytes": stored.size,
        "sha256": stored.sha256,
        "onnx_sha256": graph.sha256,
    }
    assert services.store.finish_build(claim, model, 0.5, None, values)
    return model


@cache
def small_model(members: tuple[tuple[int, str, float], ...]) -> tuple[bytes, bytes, dict[str, Any]]:
    """(graph, bundle, manifest) of a real classifier over the columns of `tests.model.linear`."""
    from assay.data.prepare import Recipe
    from assay.model.bundle import bundle_bytes
    from assay.model.compose import ensemble_graph, member_graph, model_bytes
    from assay.model.manifest import Manifest, Member
    from tests.model.linear import CLASSES, TYPES, classifiers, people, terciles

    people_, signal = people(200)
    graph = member_graph(classifiers(people_, terciles(signal), Recipe("standard", True, "onehot"), folds=1))
    delivered = ensemble_graph([graph], [1.0], CLASSES)
    onnx, names = model_bytes(delivered, {c: ColumnType(t) for c, t in TYPES.items()})
    manifest = Manifest(
        name="churn",
        kind="multiclass",
        task="classification",
        target="level",
        metric="log_loss",
        created_at="2026-01-01T00:00:00Z",
        input_schema=tuple(
            {"name": n, "type": str(t), "required": True, "example": None, "format": {}} for n, t in TYPES.items()
        ),
        outputs=names,
        classes=CLASSES,
        metrics={"log_loss": 0.4},
        test_metrics={"log_loss": 0.5},
        members=tuple(Member(*m) for m in members),
        info={"score_std": 0.02},
    )
    return onnx, bundle_bytes(onnx, manifest), manifest.to_json()


def person(**changes: Any) -> dict[str, Any]:
    return {"age": 40, "income": 20.5, "town": "Aa", "since": "2001-02-03", **changes}


def csv_of(rows: Sequence[dict[str, Any]]) -> bytes:
    import csv

    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def set_columns(services: Services, dataset: str, columns: Sequence[dict[str, Any]]) -> None:
    """As if the file had had these."""
    from sqlalchemy import update

    from app.db.engine import transaction
    from app.db.tables import DatasetRow

    with transaction(services.engine) as connection:
        connection.execute(update(DatasetRow).where(DatasetRow.id == dataset).values(columns=list(columns)))
