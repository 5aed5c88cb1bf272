"""The embedded service in real processes: the whole way of a job, and everything that may go wrong on it."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.client import ApiError
from tests.e2e.service import Service, mixed_csv, processes

TASK = {"type": "classification", "target": "bought"}
QUICK = ["logistic", "decision_tree", "lightgbm"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with processes(tmp_path_factory.mktemp("embedded")) as running:
        yield running


@pytest.fixture(scope="module")
def dataset(service: Service) -> str:
    data = service.client.upload(mixed_csv(service.folder / "train.csv"))
    assert {c["name"]: c["type"] for c in data["columns"]}["joined"] == "datetime"
    return str(data["id"])


@pytest.fixture(scope="module")
def finished(service: Service, dataset: str) -> dict[str, Any]:
    job = service.submit(dataset, TASK, 20, search={"families": QUICK}, limits={"trials": 6})
    return service.wait(job["id"], 60)


def test_a_job_ends_in_time_with_a_leaderboard_and_a_model(service: Service, finished: dict[str, Any]) -> None:
    assert finished["status"] == "succeeded", finished["error"]
    assert finished["stop_reason"] in ("trial_limit", "time_limit")
    board = service.client.call("GET", f"/v1/jobs/{finished['id']}/leaderboard")["data"]
    assert board[0]["score"] == max(row["score"] for row in board)
    assert {row["family"] for row in board if not row["is_ensemble"]} <= set(QUICK)
    assert 0.5 < finished["best"]["value"] <= 1.0
    model = service.client.call("GET", f"/v1/models/{finished['best']['model_id']}")
    assert model["test_metrics"]["roc_auc"] > 0.6


def test_the_same_request_with_counted_trials_gives_the_same_model(
    service: Service, dataset: str, tmp_path: Path
) -> None:
    rows = mixed_csv(tmp_path / "new.csv", n=40, seed=3, target=False).read_bytes()
    found = []
    for _ in range(2):
        body = {"dataset_id": dataset, "task": TASK, "search": {"families": QUICK}, "limits": {"trials": 5}}
        made = service.client.call("POST", "/v1/jobs", body)
        assert made["request"]["limits"]["time_seconds"] is None
        job = service.wait(made["id"], 60)
        board = service.client.call("GET", f"/v1/jobs/{job['id']}/leaderboard")["data"]
        kept = [(r["trial"], r["family"], r["score"], json.dumps(r["config"], sort_keys=True)) for r in board]
        path = f"/v1/models/{job['best']['model_id']}/predict"
        answer = service.client.call("POST", path, rows, content_type="text/csv", accept="text/csv")
        found.append((kept, answer))
    assert found[0] == found[1]


def test_the_downloaded_graph_alone_answers_like_the_service(
    service: Service, finished: dict[str, Any], tmp_path: Path
) -> None:
    model = finished["best"]["model_id"]
    rows = mixed_csv(tmp_path / "new.csv", n=60, seed=9, target=False).read_text(encoding="utf-8")
    rows += ",,,\n1e12,30,Atlantis,2031-02-28\n12.5,41,Oulu,\n"
    answer = service.client.call(
        "POST", f"/v1/models/{model}/predict", rows.encode(), content_type="text/csv", accept="text/csv"
    )
    served = list(csv.DictReader(io.StringIO(answer.decode())))
    path = service.client.download(model, tmp_path / "model.onnx", "onnx")
    (tmp_path / "rows.csv").write_text(rows, encoding="utf-8")
    code = """
import csv, json, sys, numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
rows = list(csv.DictReader(open(sys.argv[2], encoding="utf-8")))
feeds = {}
for i in session.get_inputs():
    cells = [r[i.name] for r in rows]
    number = [float(c) if c else float("nan") for c in cells] if "float" in i.type else cells
    feeds[i.name] = np.array(number, np.float32 if "float" in i.type else object)[:, None]
label, p = session.run(["label", "probabilities"], feeds)
assert not [m for m in sys.modules if m.startswith(("assay", "torch", "sklearn", "lightgbm"))]
print(json.dumps([list(map(str, label)), p.tolist()]))
"""
    out = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "rows.csv")], capture_output=True, text=True, check=True
    )
    labels, p = json.loads(out.stdout)
    assert len(served) == 63
    assert labels == [r["prediction"] for r in served]
    for row, (no, yes) in zip(served, p, strict=True):
        assert float(row["probability_no"]) == pytest.approx(no, abs=1e-5)
        assert float(row["probability_yes"]) == pytest.approx(yes, abs=1e-5)


def test_the_bundle_loads_in_a_fresh_process(service: Service, finished: dict[str, Any], tmp_path: Path) -> None:
    bundle = service.client.download(finished["best"]["model_id"], tmp_path / "model.zip")
    row = {"income": 20.5, "age": 70, "town": "Oslo", "joined": "2024-05-01"}
    answer = service.client.call("POST", f"/v1/models/{finished['best']['model_id']}/predict", {"rows": [row]})
    code = f"import assay; print(assay.load({str(bundle)!r}).predict([{row!r}])[0])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == answer["predictions"][0]["value"]


def test_the_users_own_validation_and_test_rows_judge(service: Service, dataset: str, tmp_path: Path) -> None:
    judges = {
        role: service.client.upload(mixed_csv(tmp_path / f"{role}.csv", n, seed))["id"]
        for role, n, seed in (("validation", 120, 5), ("test", 80, 6))
    }
    parts = {f"{role}_dataset_id": id for role, id in judges.items()}
    job = service.submit(dataset, TASK, 30, search={"families": ["logistic"]}, limits={"trials": 2}, **parts)
    assert job["resolved"]["method"] == "holdout"
    ended = service.wait(job["id"], 60)
    assert ended["status"] == "succeeded", ended["error"]
    model = service.client.call("GET", f"/v1/models/{ended['best']['model_id']}/card")["facts"]
    assert model["info"]["rows"] == {"train": 120, "test": 80, "without_target": 0}  # rows that were validated; tested


def test_a_job_may_start_from_what_did_well_before(service: Service, dataset: str, finished: dict[str, Any]) -> None:
    start = {"warm_start_from": finished["id"]}
    job = service.submit(
        dataset, TASK, 30, search={"families": QUICK, "strategy": "random"}, limits={"trials": 3}, **start
    )
    assert any(finished["id"] in reason for reason in job["resolved"]["because"])
    assert service.wait(job["id"], 60)["status"] == "succeeded"

    def best(trials: list[dict[str, Any]]) -> list[tuple[str, Any]]:
        done = sorted((t for t in trials if t["status"] == "completed"), key=lambda t: (-t["score"], t["number"]))
        return [(t["family"], t["config"]) for t in done]

    earlier, later = (_trials(service, id) for id in (finished["id"], job["id"]))
    assert [(t["family"], t["config"]) for t in later] == best(earlier)[:3]


@pytest.mark.parametrize("field", ["validation_dataset_id", "test_dataset_id", "warm_start_from"])
def test_what_a_job_refers_to_must_exist(service: Service, dataset: str, field: str) -> None:
    with pytest.raises(ApiError) as caught:
        service.submit(dataset, TASK, 30, **{field: "ds_00000000000000000000000000000000"})
    assert (caught.value.problem["code"], caught.value.problem["errors"][0]["pointer"]) == ("not_found", f"/{field}")


def test_events_are_numbered_without_gaps_and_the_stream_resumes(service: Service, finished: dict[str, Any]) -> None:
    seen: list[int] = []
    while True:
        page = service.client.call("GET", f"/v1/jobs/{finished['id']}/events?after={seen[-1] if seen else 0}&limit=20")
        seen += [e["seq"] for e in page["data"]]
        if not page["has_more"]:
            break
    assert seen == list(range(1, len(seen) + 1))
    request = urllib.request.Request(
        f"{service.client.url}/v1/jobs/{finished['id']}/events",
        headers={"Accept": "text/event-stream", "Last-Event-ID": str(seen[-3])},
    )
    with urllib.request.urlopen(request, timeout=20) as stream:
        text = stream.read().decode()
    ids = [int(line.split(":", 1)[1]) for line in text.splitlines() if line.startswith("id:")]
    assert ids == seen[-2:]


def test_a_family_that_misbehaves_fails_its_trials_and_nothing_else(service: Service, dataset: str) -> None:
    bad = {
        "toy_exits": "crashed",
        "toy_segfaults": "crashed",
        "toy_hangs": "timed_out",
        "toy_raises": "trial_failed",
        "toy_hoards": "out_of_memory",
    }
    job = service.submit(
        dataset, TASK, 60, search={"families": ["zero_work", *bad], "strategy": "bayesian"},
        limits={"trials": 7, "trial_seconds": 12, "memory_mb": 1200}, validation={"method": "holdout"},
    )  # fmt: skip
    ended = service.wait(job["id"], 100)
    assert ended["status"] == "succeeded", ended
    trials = service.client.call("GET", f"/v1/jobs/{job['id']}/trials?limit=100")["data"]
    codes = {t["family"]: t["error"]["code"] for t in trials if t["status"] == "failed"}
    assert codes == {f: bad[f] for f in codes}
    assert set(codes) >= {"toy_exits", "toy_segfaults", "toy_hangs", "toy_raises"}
    assert any(t["status"] == "completed" for t in trials)


def test_cancel_ends_the_work_and_keeps_the_trials(service: Service, dataset: str) -> None:
    job = service.submit(dataset, TASK, 120, search={"families": ["zero_work", "toy_slow"], "strategy": "random"})
    _until(lambda: service.client.call("GET", f"/v1/jobs/{job['id']}")["progress"]["trials"]["completed"] >= 2)
    service.client.call("POST", f"/v1/jobs/{job['id']}/cancel")
    ended = service.wait(job["id"], 15)
    assert ended["status"] == "cancelled"
    assert ended["best"]["model_id"]  # a job with one good trial always yields a model
    with pytest.raises(ApiError) as caught:
        service.client.call("POST", f"/v1/jobs/{job['id']}/pause")
    assert (caught.value.status, caught.value.problem["code"]) == (409, "invalid_transition")


def test_pause_resume_finish_and_extend(service: Service, dataset: str) -> None:
    job = service.submit(dataset, TASK, 120, search={"families": ["zero_work", "toy_slow"], "strategy": "random"})["id"]
    call = service.client.call
    _until(lambda: call("GET", f"/v1/jobs/{job}")["progress"]["trials"]["completed"] >= 2)
    call("POST", f"/v1/jobs/{job}/pause")
    paused = service.wait(job, 15, "paused")
    time.sleep(1.0)
    later = call("GET", f"/v1/jobs/{job}")
    assert later["progress"]["trials"] == paused["progress"]["trials"]
    assert later["progress"]["elapsed_seconds"] == pytest.approx(paused["progress"]["elapsed_seconds"], abs=0.2)
    call("POST", f"/v1/jobs/{job}/resume")
    done = paused["progress"]["trials"]["completed"]
    _until(lambda: call("GET", f"/v1/jobs/{job}")["progress"]["trials"]["completed"] > done)
    call("POST", f"/v1/jobs/{job}/finish")
    ended = service.wait(job, 30)
    assert (ended["status"], ended["stop_reason"]) == ("succeeded", "finished_by_user")
    before = ended["progress"]["trials"]["completed"]
    call("PATCH", f"/v1/jobs/{job}", {"limits": {"trials": before + 8, "time_seconds": 300}})
    again = service.wait(job, 60)
    assert again["status"] == "succeeded"
    assert again["progress"]["trials"]["completed"] > before


def _trials(service: Service, job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.client.call("GET", f"/v1/jobs/{job}/trials?limit=100")["data"]
    return found


def _until(holds: Any, seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
