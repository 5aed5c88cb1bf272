"""Event streams and long polls over real sockets: nothing missed, nothing twice, no thread held."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.deps import Services
from assay.search.lifecycle import JobStatus
from tests.app import running

Parts = tuple[str, Services]


@pytest.fixture
def live(sqlite_template: Path, tmp_path: Path) -> Iterator[Parts]:
    file = tmp_path / "assay.db"
    file.write_bytes(sqlite_template.read_bytes())
    with running.listening(f"sqlite:///{file}", tmp_path) as parts:
        yield parts


def events_of(services: Services, job: str) -> list[int]:
    return [e.seq for e in services.store.events(job, 0, 10_000)]


def read_stream(url: str, job: str, last: int | None = None, stop_after: int | None = None) -> list[dict[str, Any]]:
    """Events of a stream until it ends, or until so many came (then the connection is dropped)."""
    headers = {"Accept": "text/event-stream"} | ({} if last is None else {"Last-Event-ID": str(last)})
    found: list[dict[str, Any]] = []
    with httpx2.stream("GET", f"{url}/v1/jobs/{job}/events", headers=headers, timeout=20) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        number = 0
        for line in answer.iter_lines():
            if line.startswith("id: "):
                number = int(line[4:])
            if line.startswith("data: "):
                event = json.loads(line[6:])
                assert event["seq"] == number
                found.append(event)
                if len(found) == stop_after:
                    break
    return found


def test_a_stream_tells_everything_and_ends_with_the_job(live: Parts) -> None:
    url, services = live
    job = running.new_job(services)
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(read_stream, url, job)
        for claim in running.start_trials(services, job, 3):
            running.end_trial(services, claim, -0.5)
            time.sleep(0.05)
        services.store.request(job, "cancel")
        running.end_job(services, job, JobStatus.CANCELLED)
        seen = reader.result(20)
    assert [e["seq"] for e in seen] == events_of(services, job)
    assert seen[0]["type"] == "job.created" and seen[-1]["type"] == "job.cancelled"
    listed = httpx2.get(f"{url}/v1/jobs/{job}/events?limit=100").json()
    assert listed["data"] == seen


def test_a_stream_broken_again_and_again_has_no_gap_and_no_duplicate(live: Parts) -> None:
    url, services = live
    job = running.new_job(services)

    def work() -> None:
        for claim in running.start_trials(services, job, 12):
            running.end_trial(services, claim, -0.5)
        services.store.request(job, "cancel")
        running.end_job(services, job, JobStatus.CANCELLED)

    worker = threading.Thread(target=work)
    worker.start()
    seen: list[int] = []
    for _ in range(100):
        part = read_stream(url, job, seen[-1] if seen else None, stop_after=4)
        seen += [e["seq"] for e in part]
        if part and part[-1]["type"] == "job.cancelled":
            break
    worker.join()
    assert seen == events_of(services, job)
    again = httpx2.get(
        f"{url}/v1/jobs/{job}/events", headers={"Accept": "text/event-stream", "Last-Event-ID": str(seen[-1])}
    )
    assert again.status_code == 204


def test_a_stream_of_a_job_that_is_not_there_is_a_problem(live: Parts) -> None:
    url, _ = live
    missing = httpx2.get(f"{url}/v1/jobs/job_{'0' * 32}/events", headers={"Accept": "text/event-stream"})
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


def test_a_long_poll_answers_at_the_next_change_and_holds_no_thread(live: Parts) -> None:
    url, services = live
    job = running.new_job(services)
    waiters = services.settings.threads + 10
    with ThreadPoolExecutor(waiters) as pool:
        asked = [pool.submit(httpx2.get, f"{url}/v1/jobs/{job}?wait=15", timeout=30) for _ in range(waiters)]
        time.sleep(1.0)
        began = time.monotonic()
        assert httpx2.get(f"{url}/v1/jobs/{job}").status_code == 200
        assert time.monotonic() - began < 3.0
        assert not any(a.done() for a in asked)
        services.store.update_job(job, name="renamed")
        assert {a.result(20).json()["name"] for a in asked} == {"renamed"}


def test_a_long_poll_that_sees_no_change_says_so(live: Parts) -> None:
    url, services = live
    job = running.new_job(services)
    first = httpx2.get(f"{url}/v1/jobs/{job}")
    same = httpx2.get(f"{url}/v1/jobs/{job}?wait=0.3", headers={"If-None-Match": first.headers["etag"]})
    assert same.status_code == 304
    services.store.update_job(job, name="other")
    began = time.monotonic()
    changed = httpx2.get(f"{url}/v1/jobs/{job}?wait=15", headers={"If-None-Match": first.headers["etag"]})
    assert changed.json()["name"] == "other" and time.monotonic() - began < 5


def test_a_slow_sender_is_let_go(sqlite_template: Path, tmp_path: Path) -> None:
    import socket

    file = tmp_path / "assay.db"
    file.write_bytes(sqlite_template.read_bytes())
    with running.listening(f"sqlite:///{file}", tmp_path, upload_timeout=0.5) as (url, services):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as s:
            head = f"POST /v1/datasets HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 100000\r\n"
            s.sendall(f"{head}Content-Type: text/csv\r\n\r\na,b\n".encode())
            s.settimeout(10)
            answer = s.recv(4096)
        assert b" 408 " in answer.split(b"\r\n")[0]
        assert services.storage.collect(older_than=timedelta(0)) == 0  # nothing half-made stays
