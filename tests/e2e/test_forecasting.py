"""A forecasting job through the public API: upload, search, forecast, download."""

from __future__ import annotations

import csv
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e.service import Service, processes

FAMILIES = ["seasonal_naive", "ets"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with processes(tmp_path_factory.mktemp("forecasting")) as running:
        yield running


def rows(n: int = 72) -> list[tuple[str, str]]:
    rng = np.random.default_rng(0)
    t = np.arange(n)
    values = np.exp(3 + 0.01 * t + 0.3 * np.sin(2 * np.pi * t / 12)) + rng.normal(size=n) * 0.2
    stamps = np.datetime64("2018-01") + t
    return [(f"{s}-01", f"{v:.3f}") for s, v in zip(stamps, values, strict=True)]


@pytest.fixture(scope="module")
def finished(service: Service) -> dict[str, Any]:
    path = service.folder / "visits.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("month", "visits"), *rows()])
    data = service.client.upload(path)
    task = {"type": "forecasting", "target": "visits", "time_column": "month"}
    job = service.submit(
        data["id"], task, 60, search={"families": FAMILIES}, limits={"trials": 2}, validation={"folds": 2}
    )
    return service.wait(job["id"], 90)


def test_a_job_forecasts_what_follows_the_training_data_and_a_history(
    service: Service, finished: dict[str, Any]
) -> None:
    assert finished["status"] == "succeeded", finished["error"]
    assert finished["resolved"]["options"]["horizon"] == 12
    assert finished["resolved"]["options"]["frequency"] == "monthly"
    path = f"/v1/models/{finished['best']['model_id']}/predict"
    after = service.client.call("POST", path, {"rows": []})["predictions"]
    assert [p["time"] for p in after] == [f"2024-{m:02d}-01" for m in range(1, 13)]
    assert all(p["quantiles"]["0.1"] <= p["value"] <= p["quantiles"]["0.9"] for p in after)
    known = [{"month": s, "visits": float(v)} for s, v in rows()]
    again = service.client.call("POST", path, {"rows": known})["predictions"]
    assert [p["value"] for p in again] == pytest.approx([p["value"] for p in after], rel=1e-4)
    earlier = service.client.call("POST", path, {"rows": known[:60]})["predictions"]
    errors = [abs(p["value"] - float(v)) for p, (_, v) in zip(earlier, rows()[60:], strict=True)]
    naive = [abs(float(a) - float(b)) for (_, a), (_, b) in zip(rows()[48:60], rows()[60:], strict=True)]
    assert earlier[0]["time"] == "2023-01-01"
    assert sum(errors) < 0.7 * sum(naive)


def test_new_rows_continue_the_training_data_and_are_explained(service: Service, finished: dict[str, Any]) -> None:
    path = f"/v1/models/{finished['best']['model_id']}"
    new = [{"month": "2024-01-01", "visits": 41.0}, {"month": "2024-02-01", "visits": 44.0}]
    found = service.client.call("POST", f"{path}/predict", {"rows": new})["predictions"]
    whole = [{"month": s, "visits": float(v)} for s, v in rows()] + new
    same = service.client.call("POST", f"{path}/predict", {"rows": whole})["predictions"]
    assert [p["time"] for p in found[:2]] == ["2024-03-01", "2024-04-01"]
    assert [p["value"] for p in found] == pytest.approx([p["value"] for p in same], rel=1e-3)
    (told,) = service.client.call("POST", f"{path}/explain", {"rows": new})["explanations"]
    assert told["contributions"].keys() >= {"2024-02-01", "2023-02-01"} and told["attention"] is None
    assert abs(told["contributions"]["2023-04-01"]) > 1e-3


def test_the_bundle_alone_forecasts_like_the_service(
    service: Service, finished: dict[str, Any], tmp_path: Path
) -> None:
    model = finished["best"]["model_id"]
    served = service.client.call("POST", f"/v1/models/{model}/predict", {"rows": []})["predictions"]
    with zipfile.ZipFile(service.client.download(model, tmp_path / "model.zip")) as archive:
        archive.extractall(tmp_path / "model")
    command = [sys.executable, str(tmp_path / "model" / "predict.py")]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    found = list(csv.DictReader(out.stdout.splitlines()))
    assert [r["time"] for r in found] == [p["time"] for p in served]
    assert [float(r["prediction"]) for r in found] == pytest.approx([p["value"] for p in served], rel=1e-5)
    assert [float(r["quantile_0.9"]) for r in found] == pytest.approx([p["quantiles"]["0.9"] for p in served], rel=1e-5)


def test_weeks_and_what_is_known_of_the_future_are_read_alike_in_training_and_in_serving(service: Service) -> None:
    rng = np.random.default_rng(1)
    price = rng.normal(size=66).round(3)
    sold = (50 + np.cumsum(rng.normal(size=66)) - 10 * price).round(3)
    weeks = [f"{2023 + w // 52}-W{w % 52 + 1:02d}" for w in range(66)]
    path = service.folder / "weeks.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("week", "sold", "price"), *zip(weeks[:60], sold[:60], price[:60], strict=True)])
    task = {"type": "forecasting", "target": "sold", "time_column": "week", "horizon": 6, "known_covariates": ["price"]}
    asked = service.submit(
        service.client.upload(path)["id"], task, 60, search={"families": ["ets"]}, limits={"trials": 1}
    )
    job = service.wait(asked["id"], 90)
    assert job["status"] == "succeeded", job["error"]
    path_of = f"/v1/models/{job['best']['model_id']}/predict"
    ahead = [{"week": w, "price": float(p)} for w, p in zip(weeks[60:], price[60:], strict=True)]
    found = service.client.call("POST", path_of, {"rows": ahead})["predictions"]
    assert found[0]["time"] == "2024-02-26"  # the Monday of 2024-W09
    assert np.corrcoef([p["value"] for p in found], price[60:])[0, 1] < -0.9
