"""Doorbells ring, and never hurt when nobody is at home."""

from __future__ import annotations

import logging
import socket
import time
from pathlib import Path

import pytest

from app.config import Settings
from app.queue import KEY_PREFIX, TASK, CeleryBell, LocalBell, NoBell, listen, make_bell


def test_a_ring_is_heard_once_by_the_worker_of_its_lane(tmp_path: Path) -> None:
    bell = LocalBell(tmp_path)
    with listen(tmp_path, "cpu") as cpu, listen(tmp_path, "gpu") as gpu:
        assert not cpu.wait(0.0)
        for _ in range(500):  # more than the inbox holds: nobody waits
            bell.ring("cpu")
        assert cpu.wait(5.0)
        assert not cpu.wait(0.0)
        assert not gpu.wait(0.0)
    bell.close()


def test_a_ring_without_a_worker_is_lost_in_silence(tmp_path: Path) -> None:
    bell = LocalBell(tmp_path / "nowhere")
    bell.ring("cpu")
    bell.close()


def test_a_worker_that_comes_back_hears_again(tmp_path: Path) -> None:
    bell = LocalBell(tmp_path)
    with listen(tmp_path, "cpu"):
        pass
    bell.ring("cpu")
    with listen(tmp_path, "cpu") as ear:
        assert not ear.wait(0.0)
        bell.ring("cpu")
        assert ear.wait(5.0)
    bell.close()


def test_a_folder_too_deep_for_a_socket_works_too(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    bell = LocalBell(deep)
    with listen(deep, "cpu") as ear:
        bell.ring("cpu")
        assert ear.wait(5.0)
    bell.close()


@pytest.mark.parametrize("listening", [False, True], ids=["closed", "silent"])
def test_a_broker_that_is_away_costs_little_and_raises_nothing(
    listening: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if listening:
            server.listen()
        bell = CeleryBell(f"redis://127.0.0.1:{server.getsockname()[1]}/0")
        began = time.monotonic()
        with caplog.at_level(logging.WARNING):
            bell.ring("cpu")
            bell.ring("cpu")
        assert time.monotonic() - began < 6
        assert "could not be reached" in caplog.text
        bell.close()


def test_a_ring_becomes_a_message_in_the_lane_of_the_broker(redis_url: str) -> None:
    import redis

    lane = f"test-{time.time_ns()}"
    client = redis.Redis.from_url(redis_url)
    bell = CeleryBell(redis_url)
    try:
        bell.ring(lane)
        (message,) = client.lrange(f"{KEY_PREFIX}{lane}", 0, -1)
        assert TASK.encode() in message
    finally:
        client.delete(f"{KEY_PREFIX}{lane}")
        client.close()
        bell.close()


def test_the_bell_fits_how_the_service_runs(tmp_path: Path) -> None:
    kinds = [
        (Settings(home=tmp_path), LocalBell),
        (Settings(home=tmp_path, database_url="postgresql://h/d"), NoBell),
        (Settings(home=tmp_path, database_url="postgresql://h/d", redis_url="redis://127.0.0.1:1/0"), CeleryBell),
    ]
    for settings, kind in kinds:
        bell = make_bell(settings)
        assert type(bell) is kind
        bell.ring("cpu") if kind is NoBell else None
        bell.close()
