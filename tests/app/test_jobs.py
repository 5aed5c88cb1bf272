"""Jobs over HTTP: what is shown of their rows, what may be asked of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.deps import Services
from app.jobs import pictures, plots, report
from assay.search.lifecycle import JobStatus
from tests.app import running
from tests.app.running import TARGET

Parts = tuple[TestClient, Services]


@pytest.fixture
def parts(sqlite_template: Path, tmp_path: Path) -> Iterator[Parts]:
    file = tmp_path / "assay.db"
    file.write_bytes(sqlite_template.read_bytes())
    with running.running(f"sqlite:///{file}", tmp_path) as made:
        yield made


@pytest.fixture
def searched(parts: Parts) -> tuple[TestClient, Services, str]:
    """A job with three completed trials, a failed one, and a delivered ensemble."""
    api, services = parts
    job = running.new_job(services, name="<b>churn</b>")
    claims = running.start_trials(services, job, 4)
    for claim, score in zip(claims, (-0.6, -0.4, None, -0.5), strict=True):
        running.end_trial(services, claim, score)
    running.deliver(services, job, [(1, "toy", 0.7), (3, "toy", 0.3)], -0.35)
    return api, services, job


def test_the_best_trial_is_shown_as_people_know_the_metric(searched: tuple[TestClient, Services, str]) -> None:
    api, _, job = searched
    shown = api.get(f"/v1/jobs/{job}").json()
    model = api.get("/v1/models").json()["data"][0]["id"]
    assert shown["best"] == {"trial": 1, "model_id": model, "metric": "log_loss", "value": 0.4, "std": 0.01}
    assert shown["progress"]["trials"] == {"queued": 0, "running": 0, "completed": 3, "stopped": 0, "failed": 1}
    assert 0 < shown["progress"]["eta_seconds"] <= 60
    assert shown["links"]["model"] == f"/v1/models/{model}"


def test_the_leaderboard_shows_the_metric_by_which_it_ranks(parts: Parts) -> None:
    """Over all validation rows together trial 1 looks better; the mean over the folds decides, and is shown."""
    api, services = parts
    job = running.new_job(services)
    first, second = running.start_trials(services, job, 2)
    running.end_trial(services, first, -0.40, metrics={"log_loss": 0.41, "accuracy": 0.7})
    running.end_trial(services, second, -0.42, metrics={"log_loss": 0.39, "accuracy": 0.8})
    board = api.get(f"/v1/jobs/{job}/leaderboard").json()["data"]
    assert [(r["trial"], r["metrics"]) for r in board] == [
        (0, {"log_loss": 0.4, "accuracy": 0.7}),
        (1, {"log_loss": 0.42, "accuracy": 0.8}),
    ]
    trials = api.get(f"/v1/jobs/{job}/trials").json()["data"]
    assert [t["metrics"]["log_loss"] for t in trials] == [0.4, 0.42]
    assert api.get(f"/v1/jobs/{job}/trials/1").json()["metrics"]["log_loss"] == 0.42


def test_the_leaderboard_ranks_trials_and_the_ensemble_together(searched: tuple[TestClient, Services, str]) -> None:
    api, _, job = searched
    board = api.get(f"/v1/jobs/{job}/leaderboard").json()["data"]
    assert [(r["rank"], r["trial"], r["score"]) for r in board] == [
        (1, None, -0.35),
        (2, 1, -0.4),
        (3, 3, -0.5),
        (4, 0, -0.6),
    ]
    assert board[0]["is_ensemble"] and [m["trial"] for m in board[0]["members"]] == [1, 3]
    assert board[1]["optimizer"] == "adam" and board[1]["metrics"] == {"log_loss": 0.4}
    rest = api.get(f"/v1/jobs/{job}/leaderboard?limit=2&after=2").json()
    assert [r["rank"] for r in rest["data"]] == [3, 4] and not rest["has_more"]


def test_a_trial_tells_its_curve_its_log_and_why_it_failed(searched: tuple[TestClient, Services, str]) -> None:
    api, _, job = searched
    trial = api.get(f"/v1/jobs/{job}/trials/1").json()
    assert trial["rank"] == 1 and [p["step"] for p in trial["learning_curve"]] == [1, 5]
    assert api.get(f"/v1/jobs/{job}/trials/1/log").text == "epoch 1\n"
    assert api.get(f"/v1/jobs/{job}/trials/2").json()["error"]["code"] == "crashed"
    failed = api.get(f"/v1/jobs/{job}/trials?status=failed").json()["data"]
    assert [t["number"] for t in failed] == [2]
    first = api.get(f"/v1/jobs/{job}/trials?limit=3").json()
    assert first["next_after"] == 2
    assert [t["number"] for t in api.get(f"/v1/jobs/{job}/trials?after=2").json()["data"]] == [3]
    assert api.get(f"/v1/jobs/{job}/trials/9").json()["code"] == "not_found"


def test_every_figure_is_plotly_json_and_a_picture(searched: tuple[TestClient, Services, str]) -> None:
    api, _, job = searched
    kinds = [p["kind"] for p in api.get(f"/v1/jobs/{job}/plots").json()["data"]]
    assert set(kinds) == {"history", "timeline", "learning_curves", "parallel", "families"}
    for kind in kinds:
        figure = api.get(f"/v1/jobs/{job}/plots/{kind}").json()
        assert figure["data"] and "title" in figure["layout"], kind
        picture = api.get(f"/v1/jobs/{job}/plots/{kind}", headers={"Accept": "image/png"})
        assert picture.content.startswith(b"\x89PNG"), kind
    history = api.get(f"/v1/jobs/{job}/plots/history").json()["data"]
    assert history[0]["y"] == [0.6, 0.4, 0.5]
    timeline = api.get(f"/v1/jobs/{job}/plots/timeline").json()["data"]
    assert history[0]["marker"]["color"] == timeline[0]["marker"]["color"]
    assert api.get(f"/v1/jobs/{job}/plots/histroy").json()["detail"].endswith("closest: 'history'")


def test_more_families_than_colours_are_told_apart_by_symbols_that_every_drawing_knows() -> None:
    names = [f"family_{i:02}" for i in range(len(plots.COLOURS) * len(plots.MARKS))]
    job = SimpleNamespace(resolved={"families": names, "metric": "accuracy"})
    done = [
        SimpleNamespace(number=i, family=n, status="completed", score=0.5, score_std=0.1) for i, n in enumerate(names)
    ]
    figure = plots.history(job, done)
    marks = [t["marker"] for t in figure["data"] if t["mode"] == "markers"]
    assert len({(m["color"], m["symbol"]) for m in marks}) == len(names)
    assert pictures.png(figure).startswith(b"\x89PNG")
    assert {m["symbol"] for m in marks} == set(report.GLYPHS)


def test_figures_and_report_of_a_job_without_trials_are_empty_not_errors(parts: Parts) -> None:
    api, services = parts
    job = running.new_job(services)
    for kind in ("history", "timeline", "learning_curves", "parallel", "families"):
        for accept in ("application/json", "image/png"):
            assert api.get(f"/v1/jobs/{job}/plots/{kind}", headers={"Accept": accept}).status_code == 200
    assert "none has a score yet" in api.get(f"/v1/jobs/{job}/report").text


def test_the_report_stands_alone_and_names_in_it_are_inert(searched: tuple[TestClient, Services, str]) -> None:
    api, _, job = searched
    page = api.get(f"/v1/jobs/{job}/report")
    assert "&lt;b&gt;churn&lt;/b&gt;" in page.text and "<b>churn</b>" not in page.text
    assert "<script" not in page.text and "http://" not in page.text and "https://" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "ensemble" in page.text and "as a test wants it" in page.text


@pytest.mark.parametrize(
    ("verbs", "status"),
    [
        (["pause"], "paused"),
        (["pause", "pause"], "paused"),
        (["pause", "resume"], "queued"),
        (["cancel", "cancel"], "cancelling"),
        (["finish"], "finishing"),
    ],
)
def test_verbs_move_a_job_and_asking_twice_is_harmless(parts: Parts, verbs: list[str], status: str) -> None:
    api, services = parts
    job = running.new_job(services)
    answers = [api.post(f"/v1/jobs/{job}/{verb}") for verb in verbs]
    assert {a.status_code for a in answers} == {202}
    assert answers[-1].json()["status"] == status


def test_an_impossible_move_names_the_present_status(searched: tuple[TestClient, Services, str]) -> None:
    api, services, job = searched
    services.store.request(job, "cancel")
    running.end_job(services, job, JobStatus.CANCELLED)
    refused = api.post(f"/v1/jobs/{job}/pause")
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_transition")
    assert "cancelled" in refused.json()["detail"]


def test_larger_limits_reopen_an_ended_job_and_keep_its_trials(parts: Parts) -> None:
    api, services = parts
    dataset = running.ready_dataset(api, services)
    job = running.new_job(services, dataset_id=dataset)
    for claim in running.start_trials(services, job, 2):
        running.end_trial(services, claim, -0.5)
    services.store.request(job, "cancel")
    running.end_job(services, job, JobStatus.CANCELLED)
    named = api.patch(f"/v1/jobs/{job}", json={"name": "again", "tags": {"team": "x"}}).json()
    assert (named["status"], named["name"], named["tags"]) == ("cancelled", "again", {"team": "x"})
    opened = api.patch(f"/v1/jobs/{job}", json={"limits": {"time_seconds": 120, "target_score": 0.1}}).json()
    assert opened["status"] == "queued" and opened["progress"]["trials"]["completed"] == 2
    assert opened["limits"]["time_seconds"] == 120
    assert opened["limits"]["target_score"] == 0.1  # as written, though log_loss is negated inside


def test_a_job_whose_dataset_is_gone_cannot_be_reopened(parts: Parts) -> None:
    api, services = parts
    job = running.new_job(services)
    services.store.request(job, "cancel")
    running.end_job(services, job, JobStatus.CANCELLED)
    gone = api.patch(f"/v1/jobs/{job}", json={"limits": {"trials": 5}})
    assert (gone.status_code, gone.json()["code"]) == (410, "gone")


def test_a_change_made_on_an_old_state_is_refused(parts: Parts) -> None:
    api, services = parts
    job = running.new_job(services)
    old = api.get(f"/v1/jobs/{job}").headers["etag"]
    assert api.patch(f"/v1/jobs/{job}", json={"priority": 9}, headers={"If-Match": old}).status_code == 200
    stale = api.patch(f"/v1/jobs/{job}", json={"priority": 1}, headers={"If-Match": old})
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")


def test_only_an_ended_job_is_deleted_and_its_models_stay(searched: tuple[TestClient, Services, str]) -> None:
    api, services, job = searched
    assert api.delete(f"/v1/jobs/{job}").json()["code"] == "invalid_transition"
    services.store.request(job, "cancel")
    running.end_job(services, job, JobStatus.CANCELLED)
    assert api.delete(f"/v1/jobs/{job}").status_code == 204
    assert api.get(f"/v1/jobs/{job}").status_code == 404
    assert len(api.get("/v1/models").json()["data"]) == 1


def test_the_queue_is_told_by_priority_then_age(parts: Parts) -> None:
    api, services = parts
    jobs = [running.new_job(services, priority=p) for p in (5, 9, 5)]
    assert [api.get(f"/v1/jobs/{j}").json()["queue_position"] for j in jobs] == [2, 1, 3]
    listed = api.get("/v1/jobs?status=queued").json()["data"]
    assert [j["id"] for j in listed] == jobs[::-1]
    assert api.get("/v1/jobs?status=running").json()["data"] == []


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"task": {"type": "classification"}}, "/task/target", "validation_error"),
        ({"task": {"type": "clasification", "target": "churn"}}, "/task/type", "validation_error"),
        ({"search": {"families": ["lightgmb"]}}, "/search/families/0", "validation_error"),
        ({"search": {"strategy": "bayes"}}, "/search/strategy", "validation_error"),
        ({"objective": {"metric": "rmse"}}, "/objective/metric", "validation_error"),
        ({"limits": {"time_seconds": None}}, "/limits", "validation_error"),
        ({"limits": {"time_seconds": -1}}, "/limits/time_seconds", "validation_error"),
        ({"tags": {"a": [1]}}, "/tags", "validation_error"),
    ],
)
def test_a_request_that_cannot_be_names_its_field(
    parts: Parts, change: dict[str, Any], pointer: str, code: str
) -> None:
    api, services = parts
    dataset = running.ready_dataset(api, services)
    refused = api.post("/v1/jobs", json={"dataset_id": dataset, "task": TARGET, **change})
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (422, code), problem
    assert problem["errors"][0]["pointer"].startswith(pointer)
    assert api.get("/v1/jobs").json()["data"] == []


def test_several_targets_in_the_place_of_one_are_told_where_they_go(parts: Parts) -> None:
    api, services = parts
    dataset = running.ready_dataset(api, services)
    task = {"type": "forecasting", "target": ["churn", "age"]}
    problem = api.post("/v1/jobs", json={"dataset_id": dataset, "task": task}).json()
    assert problem["detail"] == "/task/target: this is one column; several go in task.targets"


@pytest.mark.parametrize("field", ["dataset_id", "validation_dataset_id", "test_dataset_id"])
def test_a_dataset_that_is_not_there_is_named_by_its_field(parts: Parts, field: str) -> None:
    api, services = parts
    body = {"dataset_id": running.ready_dataset(api, services), "task": TARGET, field: "ds_1"}
    refused = api.post("/v1/jobs", json=body)
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (404, "not_found"), problem
    assert problem["errors"][0]["pointer"] == f"/{field}"
    assert api.get("/v1/jobs").json()["data"] == []


def test_the_trace_of_a_request_reaches_the_worker(parts: Parts) -> None:
    from sqlalchemy import select

    from app.db.engine import transaction
    from app.db.tables import JobRow

    api, services = parts
    dataset = running.ready_dataset(api, services)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    made = api.post("/v1/jobs", json={"dataset_id": dataset, "task": TARGET}, headers={"traceparent": trace})
    with transaction(services.engine, read_only=True) as connection:
        assert connection.scalar(select(JobRow.traceparent).where(JobRow.id == made.json()["id"])) == trace
