"""Random kill -9 of workers, children and the API while jobs run: nothing finished is lost, every job ends once.

`make chaos`; KILLS and JOBS in the environment set the length.  With CHAOS_REPORT=1 it leaves a dated report in
benchmarks/results.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.e2e.service import Service, mixed_csv, processes

KILLS = int(os.environ.get("KILLS", "40"))
JOBS = int(os.environ.get("JOBS", "30"))
ENDS = ("job.succeeded", "job.failed", "job.cancelled")


@pytest.mark.chaos
def test_random_kills_lose_nothing(tmp_path: Path) -> None:
    chance = random.Random(0)
    with processes(tmp_path, alone=True) as service:
        data = service.client.upload(mixed_csv(tmp_path / "train.csv", n=200))
        jobs = [
            service.submit(
                data["id"], {"type": "classification", "target": "bought"}, 600, limits={"trials": 6},
                search={"strategy": "random", "families": ["zero_work", "toy_slow"]}, validation={"seed": i, "method": "holdout"},
            )["id"]
            for i in range(JOBS)
        ]  # fmt: skip
        done = threading.Event()
        kills: list[str] = []
        began = time.monotonic()
        killed = _kill_at_random(service, chance, done, kills)
        kept: dict[tuple[str, int], float] = {}
        for job in jobs:
            ended = service.wait(job, 900)
            assert ended["status"] == "succeeded", ended
        done.set()
        killed.join(30)
        for job in jobs:
            trials = _retry(lambda job=job: service.client.call("GET", f"/v1/jobs/{job}/trials?limit=100")["data"])
            assert len({t["number"] for t in trials}) == 6
            kept |= {(job, t["number"]): t["score"] for t in trials if t["status"] == "completed"}
            events = _retry(lambda job=job: service.client.call("GET", f"/v1/jobs/{job}/events?limit=100")["data"])
            assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
            assert sum(e["type"] in ENDS for e in events) == 1
            finished = [e["data"]["trial"] for e in events if e["type"] == "trial.completed"]
            assert len(finished) == len(set(finished))
        assert len(kept) >= 5 * JOBS
        assert kills, "nothing was killed while the jobs ran"
    if os.environ.get("CHAOS_REPORT") == "1":
        _report(kills, len(kept), time.monotonic() - began)


def _report(kills: list[str], completed: int, seconds: float) -> None:
    today = datetime.now(UTC).date().isoformat()
    lines = [
        f"# Kills at random, {today}",
        "",
        f"{JOBS} jobs of 6 trials on the embedded service, {len(kills)} processes ended by SIGKILL at random instants "
        f"(seed 0), {seconds:.0f} s, {os.cpu_count()} cores.",
        "",
        "| killed | times |",
        "|---|---|",
        *(f"| {name} | {n} |" for name, n in sorted(Counter(kills).items())),
        "",
        f"Every job succeeded and told its end once; {completed} of {6 * JOBS} trials completed, the others failed because the "
        "process that trained them was killed; no finished trial was lost or told twice; events are numbered without gaps.",
    ]
    folder = Path(__file__).parents[2] / "benchmarks" / "results"
    (folder / f"{today}-chaos.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _kill_at_random(
    service: Service, chance: random.Random, done: threading.Event, kills: list[str]
) -> threading.Thread:
    def run() -> None:
        for _ in range(KILLS):
            if done.wait(chance.uniform(0.5, 4.0)):
                return
            kind = chance.choice(["workers.embedded", "forkserver", "forkserver", "app.serve_api"])
            victims = service.pids(kind)
            if victims:
                try:
                    os.kill(chance.choice(victims), signal.SIGKILL)
                except ProcessLookupError:
                    continue
                kills.append({"forkserver": "training process, or the one it is forked from"}.get(kind, kind))

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def _retry(call):  # type: ignore[no-untyped-def]
    """The API itself may just have been killed."""
    for _ in range(100):
        try:
            return call()
        except OSError:
            time.sleep(0.2)
    return call()
