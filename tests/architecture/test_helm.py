"""The Helm chart: its commands exist, and with Helm at hand it renders to what Kubernetes would be given."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.config import Settings

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "assay"
VALUES = {"image.api": "example/assay-api:0.1.0", "image.worker": "example/assay-worker:0.1.0"}


def render(*more: str) -> list[dict[str, Any]]:
    """What `helm template` makes of the chart; the test is skipped where there is no Helm."""
    helm = shutil.which("helm")
    if helm is None:
        pytest.skip("helm is not installed")
    settings = [part for name, value in VALUES.items() for part in ("--set", f"{name}={value}")]
    done = subprocess.run([helm, "template", "assay", str(CHART), *settings, *more], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def pods(documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {d["metadata"]["name"]: d["spec"]["template"]["spec"] for d in documents if "template" in d.get("spec", {})}


def test_every_setting_in_the_values_is_one_that_assay_reads() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    known = {f"ASSAY_{name.upper()}" for name in Settings.__dataclass_fields__}
    assert set(values["env"]) <= known
    environment = {name: str(value) for name, value in values["env"].items()}
    settings = Settings.from_env(environment | {"DATABASE_URL": "postgresql://db/assay"}, host="0.0.0.0")
    settings.check_exposure()  # keys are asked for, or the pods would refuse to start


def test_the_chart_has_the_version_of_the_package() -> None:
    pyproject = (CHART.parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.*)"$', pyproject, flags=re.MULTILINE)
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert version is not None
    assert chart["appVersion"] == version[1]


def test_no_pod_runs_as_root_or_may_gain_rights() -> None:
    found = pods(render())
    assert set(found) == {"assay-migrate", "assay-api", "assay-worker-cpu", "assay-worker-gpu"}
    for name, pod in found.items():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False, name
            assert container["envFrom"] == [{"secretRef": {"name": "assay"}}], name


def test_the_service_and_the_ingress_lead_to_the_api() -> None:
    documents = render("--set", "ingress.enabled=true", "--set", "ingress.host=assay.example.org")
    by_kind = {d["kind"]: d for d in documents}
    selector = by_kind["Service"]["spec"]["selector"]
    api = next(d for d in documents if d["metadata"]["name"] == "assay-api")
    assert selector.items() <= api["spec"]["template"]["metadata"]["labels"].items()
    backend = by_kind["Ingress"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": "assay", "port": {"name": "http"}}


def test_a_gpu_worker_asks_for_exactly_one_gpu_and_takes_the_gpu_lane() -> None:
    worker = pods(render())["assay-worker-gpu"]["containers"][0]
    assert worker["args"] == ["worker", "--lane", "gpu", "--slots", "1"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == 1
