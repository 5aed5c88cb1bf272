"""What a kill or a Ctrl-C in mid-job may cost: nothing that was finished, and no process is left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.service import Service, mixed_csv, processes

TASK = {"type": "classification", "target": "bought"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with processes(tmp_path_factory.mktemp("killed"), alone=True) as running:
        yield running


@pytest.fixture(scope="module")
def dataset(service: Service) -> str:
    return str(service.client.upload(mixed_csv(service.folder / "train.csv"))["id"])


@pytest.mark.parametrize("victim", ["workers.embedded", "trainer", "app.serve_api"])
def test_a_kill_in_mid_job_loses_nothing(service: Service, dataset: str, victim: str) -> None:
    job = service.submit(
        dataset, TASK, 60, search={"families": ["zero_work", "toy_slow"], "strategy": "random"}, limits={"trials": 14}
    )["id"]
    _until(lambda: service.client.call("GET", f"/v1/jobs/{job}")["progress"]["trials"]["completed"] >= 3)
    before = {t["number"]: t["score"] for t in _trials(service, job) if t["status"] == "completed"}
    for pid in _victims(service, victim):
        os.kill(pid, signal.SIGKILL)
    ended = service.wait(job, 90)
    assert ended["status"] == "succeeded", ended
    after = {t["number"]: t for t in _trials(service, job)}
    assert len(after) == 14
    assert all(after[n]["score"] == score for n, score in before.items())
    assert ended["progress"]["trials"]["completed"] >= 12
    events = service.client.call("GET", f"/v1/jobs/{job}/events?limit=100")["data"]
    assert sum(e["type"] in ("job.succeeded", "job.failed", "job.cancelled") for e in events) <= 1


def test_ctrl_c_ends_everything_and_a_new_start_goes_on(service: Service, dataset: str) -> None:
    slow = {"families": ["zero_work", "toy_slow"], "strategy": "random"}
    job = service.submit(dataset, TASK, 60, search=slow, limits={"trials": 12})["id"]
    _until(lambda: service.client.call("GET", f"/v1/jobs/{job}")["progress"]["trials"]["completed"] >= 2)
    service.stop()
    _until(lambda: service.pids("") == [], 5)
    service.start()
    ended = service.wait(job, 60)
    assert ended["status"] == "succeeded"
    assert ended["progress"]["trials"]["completed"] >= 10
    service.stop()
    _until(lambda: service.pids("") == [], 5)


def _trials(service: Service, job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.client.call("GET", f"/v1/jobs/{job}/trials?limit=100")["data"]
    return found


def _victims(service: Service, what: str) -> list[int]:
    if what != "trainer":
        return service.pids(what)
    # children are forked from a server process: they are the ones that lead a session of their own below it
    servers = service.pids("forkserver")
    return [pid for pid in servers if os.getsid(pid) == pid][:1] or servers[-1:]


def _until(holds: Any, seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
