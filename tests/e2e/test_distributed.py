"""The same service on Postgres, Redis and two Celery workers."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.service import Service, mixed_csv, processes

TASK = {"type": "classification", "target": "bought"}


@pytest.fixture(scope="module")
def service(postgres_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    environment = {"DATABASE_URL": postgres_url, "REDIS_URL": redis_url}
    with processes(tmp_path_factory.mktemp("distributed"), environment, workers=2) as running:
        yield running


def test_a_job_runs_on_both_workers_and_delivers(service: Service) -> None:
    data = service.client.upload(mixed_csv(service.folder / "train.csv"))
    job = service.submit(
        data["id"], TASK, 30, search={"families": ["logistic", "decision_tree", "toy_slow"]}, limits={"trials": 10}
    )
    ended = service.wait(job["id"], 90)
    assert ended["status"] == "succeeded", ended
    trials = service.client.call("GET", f"/v1/jobs/{job['id']}/trials?limit=100")["data"]
    assert len({t["worker"] for t in trials if t["worker"]}) == 2
    answer = service.client.call(
        "POST",
        f"/v1/models/{ended['best']['model_id']}/predict",
        {"rows": [{"income": 3.5, "age": 30, "town": "", "joined": None}]},
    )
    assert answer["predictions"][0]["value"] in ("yes", "no")


def test_a_killed_worker_loses_no_finished_trial(service: Service, tmp_path: Path) -> None:
    data = service.client.upload(mixed_csv(tmp_path / "train.csv", seed=4))
    job = service.submit(
        data["id"],
        TASK,
        120,
        search={"families": ["zero_work", "toy_slow"], "strategy": "random"},
        limits={"trials": 16},
    )["id"]
    deadline = time.monotonic() + 40
    while service.client.call("GET", f"/v1/jobs/{job}")["progress"]["trials"]["completed"] < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    before = {t["number"]: t["score"] for t in _trials(service, job) if t["status"] == "completed"}
    victim = service.workers[0]
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    ended = service.wait(job, 100)
    assert ended["status"] == "succeeded", ended
    after = {t["number"]: t for t in _trials(service, job)}
    assert all(after[n]["score"] == score for n, score in before.items())
    assert len(after) == 16


def _trials(service: Service, job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.client.call("GET", f"/v1/jobs/{job}/trials?limit=100")["data"]
    return found
