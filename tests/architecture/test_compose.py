"""docker-compose.yml: what a person who runs it relies on, checked without Docker where possible."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
GPUS = ROOT / "deploy" / "compose.gpus.yml"


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"])


def test_foreign_images_are_pinned_and_ours_are_built_here(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        tag = service["image"].partition(":")[2]
        assert tag not in {"", "latest"}, f"{name} has no fixed version: {service['image']}"
        assert "build" in service or re.match(r"\d+(\.\d+)?-", tag), f"{name}: {service['image']}"


def test_every_long_running_service_restarts_and_waits_for_what_it_needs(services: dict[str, dict[str, Any]]) -> None:
    for name in ("api", "worker-cpu", "worker-gpu"):
        waits = {other: how["condition"] for other, how in services[name]["depends_on"].items()}
        assert waits == {
            "postgres": "service_healthy",
            "redis": "service_healthy",
            "migrate": "service_completed_successfully",
        }, name
        assert services[name]["restart"] == "unless-stopped", name
        assert services[name]["init"], name
    assert services["migrate"]["restart"] == "no"
    for name in ("postgres", "redis"):
        assert services[name]["healthcheck"]["test"][0] == "CMD", name


def test_only_the_api_is_published_and_only_to_this_machine(services: dict[str, dict[str, Any]]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"api": ["${ASSAY_PUBLISH:-127.0.0.1:8000}:8000"]}


def test_the_broker_keeps_its_queue_over_a_restart_and_drops_nothing_when_full(
    services: dict[str, dict[str, Any]],
) -> None:
    command = " ".join(services["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert "redis:/data" in services["redis"]["volumes"]
    assert "postgres:/var/lib/postgresql/data" in services["postgres"]["volumes"]


def test_no_password_is_written_down_and_a_missing_one_stops_the_start() -> None:
    text = COMPOSE.read_text(encoding="utf-8")
    for line in text.splitlines():
        if "PASSWORD" in line and not line.lstrip().startswith("#"):
            assert re.search(r"\$\{(POSTGRES|REDIS)_PASSWORD:\?", line), line
    example = (ROOT / "deploy" / "assay.env.example").read_text(encoding="utf-8")
    variables = {name for name, how in re.findall(r"\$\{(\w+)(:[?-])", text)}
    assert variables == set(re.findall(r"^(\w+)=", example, flags=re.MULTILINE))
    assert re.findall(r"^\w*PASSWORD=(.*)$", example, flags=re.MULTILINE) == ["", ""]


def test_a_gpu_is_asked_for_by_the_gpu_profile_alone(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        wants_gpu = "deploy" in service and "devices" in service["deploy"]["resources"]["reservations"]
        assert wants_gpu == (service.get("profiles") == ["gpu"]), name


def test_the_commands_are_commands_that_assay_has(services: dict[str, dict[str, Any]]) -> None:
    for name in ("migrate", "api", "worker-cpu", "worker-gpu"):
        command = services[name]["command"]
        done = subprocess.run(
            [sys.executable, "-m", "app.cli", command[0], "--help"], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        for word in command:
            if word.startswith("--"):
                assert word in done.stdout, f"{name} is started with {word}, which `assay {command[0]}` does not know"


@pytest.mark.parametrize("files", [[COMPOSE], [COMPOSE, GPUS]], ids=["one machine", "several gpus"])
def test_docker_compose_accepts_the_files(files: list[Path]) -> None:
    compose = _compose()
    if compose is None:
        pytest.skip("docker compose is not installed")
    named = [part for file in files for part in ("-f", str(file))]
    environment = {**os.environ, "POSTGRES_PASSWORD": "a", "REDIS_PASSWORD": "b"}
    done = subprocess.run(
        [*compose, *named, "--profile", "gpu", "config", "--quiet"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "error" not in done.stderr, done.stderr


def _compose() -> list[str] | None:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and subprocess.run([*command, "version"], capture_output=True).returncode == 0:
            return command
    return None
