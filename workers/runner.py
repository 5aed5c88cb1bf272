"""What each kind of claimed work is: where its input comes from, what the child does, where its result goes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from app.storage import SMALL, Storage
from assay.search.lifecycle import JobStatus, Phase
from assay.search.plan import JobSnapshot, search_seconds_left, slack_seconds
from assay.search.store import Claim, Outcome, extended
from assay.search.trial import Report, TrialStatus, Verdict
from workers import rows
from workers.files import local_copy
from workers.slot import GRACE, Done, Ended, Gone

if TYPE_CHECKING:
    from workers.slot import Slot

VALIDATE_SECONDS = 900.0
PREDICT_SECONDS = 3600.0
BUILD_SECONDS = 600.0
SOURCES = 60  # best trials a model is built from
HURRIED_SECONDS = 10.0  # of a last build that somebody waits for
INTAKE_MB = 6_000  # memory of the child that reads a foreign file
FOREVER = 7 * 86_400.0
T = TypeVar("T")
PATIENCE = 120.0  # seconds to go on trying to write a result while the database is away
log = logging.getLogger(__name__)


def run(slot: Slot, claim: Claim) -> Done:
    """Do the claimed work and write how it ended.  Raises Gone when it is not ours any more."""
    if claim.kind == "trial":
        return run_trial(slot, claim)
    kinds: dict[str, Callable[[Slot, Claim], None]] = {
        "build": run_build,
        "validate": run_validation,
        "predict": run_prediction,
    }
    kinds[claim.kind](slot, claim)
    return Done()


def run_trial(slot: Slot, claim: Claim) -> Done:
    store, storage = slot.worker.store, slot.worker.storage
    work = _known_work(slot, claim.ref)
    snapshot = _lately_seen(slot, claim) or store.snapshot(claim.ref)
    left = search_seconds_left(snapshot)
    if left <= 0:  # it waited for too long
        return _turn(slot, claim, Outcome(TrialStatus.STOPPED, seconds=0.0))
    limit = min(left, snapshot.limits.trial_seconds or FOREVER, FOREVER)
    path = slot.scratch / f"trial-{claim.number}.safetensors"
    heard = Heard(slot, claim)
    began = time.monotonic()
    try:
        answer = slot.ask(
            claim,
            "trial",
            {
                "problem": _problem(storage, slot.worker.cache, work),
                "family": claim.payload["family"],
                "config": claim.payload["config"],
                "number": claim.number,
                "seed": (snapshot.seed * 1_000_003 + claim.number) % (2**31 - 1),
                "path": str(path),
                "seconds": max(0.1, limit),
                "device": "cuda" if slot.worker.lane == "gpu" else "cpu",
            },
            seconds=max(0.1, limit) + GRACE,
            memory_mb=snapshot.limits.memory_mb or slot.worker.memory_mb,
            on_report=heard,
        )
    except Ended as end:
        over = end.code == "timed_out" and left <= (snapshot.limits.trial_seconds or FOREVER)
        status = TrialStatus.STOPPED if over else TrialStatus.FAILED
        error = None if over else {"code": end.code, "message": str(end), "traceback": ""}
        outcome = Outcome(
            status, seconds=time.monotonic() - began, error=error, log=slot.child.log_tail() if slot.child else ""
        )
        return _turn(slot, claim, outcome)
    told = answer["done"].get("warnings") if "done" in answer else None
    if told:
        slot.worker.safely(lambda: rows.warn(store, claim.ref, told))
    outcome = _outcome(slot, answer, time.monotonic() - began, left)
    if outcome.status is not TrialStatus.COMPLETED:
        return _turn(slot, claim, outcome)
    outcome = replace(outcome, curve=heard.curve)
    if path.stat().st_size <= SMALL:
        return _turn(slot, claim, outcome, path.read_bytes())
    return _turn(slot, claim, replace(outcome, artifact=str(storage.put_file(path).id)))


def _first(resolved: Mapping[str, Any]) -> int:
    """How many of the first trials a model is chosen by, whatever their score."""
    if resolved["task"] != "clustering":
        return 0
    from assay.clustering.agreement import FIRST

    return FIRST


def run_build(slot: Slot, claim: Claim) -> None:
    store, storage = slot.worker.store, slot.worker.storage
    work = rows.job_work(store.engine, claim.ref)
    snapshot = store.snapshot(claim.ref)
    final = bool(claim.payload.get("final"))
    began = time.monotonic()
    several = final and work.resolved["ensemble"]
    chosen = rows.checkpoints(
        store.engine, claim.ref, SOURCES if several else 1, _first(work.resolved) if several else 0
    )
    sources = [
        {
            "number": c.number,
            "family": c.family,
            "score": c.score,
            "path": str(local_copy(storage, c.blob, c.sha256, slot.worker.cache / "checkpoints")),
        }
        for c in chosen
    ]
    folder = slot.scratch / f"build-{claim.number}"
    folder.mkdir()
    limit = snapshot.limits.time_seconds
    left = BUILD_SECONDS if limit is None else max(3.0, limit + 0.25 * slack_seconds(limit) - snapshot.elapsed)
    if _asked_to_stop(snapshot):
        left = min(left, HURRIED_SECONDS)
    try:
        answer = slot.ask(
            claim,
            "build",
            {
                "problem": _problem(storage, slot.worker.cache, work),
                "sources": sources,
                "folder": str(folder),
                "ensemble": bool(final and work.resolved["ensemble"]),
                "formats": work.formats,
                "info": {
                    "job_id": claim.ref,
                    "name": work.name,
                    "limits": work.limits,
                    "threads": slot.free_cores(),
                    "counted": snapshot.counted,
                },
                "seconds": left,
            },
            seconds=_build_seconds(snapshot, final),
            memory_mb=slot.worker.memory_mb,
        )
    except Ended as end:
        answer = {"failed": {"code": end.code, "message": str(end), "traceback": ""}}
    if "done" not in answer:
        error = answer.get("failed") or {"code": "stopped", "message": "the build was stopped"}
        log.error("build of %s failed: %s", claim.ref, error)
        _until_written(slot, lambda: store.finish_build(claim, None, time.monotonic() - began, error))
        return
    done = answer["done"]
    bundle, graph = folder / done["bundle"], folder / done["onnx"]
    if final:
        slot.worker.safely(lambda: store.enter_phase(claim.ref, Phase.PACKAGING))
    stored = storage.put_file(bundle), storage.put_file(graph)
    _until_written(
        slot, lambda: rows.publish_model(store, claim, work, done, *stored, seconds=time.monotonic() - began)
    )


def _asked_to_stop(job: JobSnapshot) -> bool:
    """Whether somebody wants it to end now: what is left of its time is not to be used up."""
    return job.status is JobStatus.CANCELLING or (job.status is JobStatus.FINISHING and job.stop_reason is None)


def _build_seconds(job: JobSnapshot, final: bool) -> float:
    """When a build is killed: the last one at the end of the job's time, if there is a model to fall back on."""
    limit = job.limits.time_seconds
    if limit is None or not final or not any(b.status == "done" for b in job.builds):
        return BUILD_SECONDS
    return min(BUILD_SECONDS, max(2.0, limit + slack_seconds(limit) - job.elapsed))


def run_validation(slot: Slot, claim: Claim) -> None:
    store, storage = slot.worker.store, slot.worker.storage
    dataset = rows.dataset_work(store.engine, claim.ref)
    source = local_copy(storage, dataset.blob, dataset.sha256, slot.worker.cache / "uploads")
    table = slot.scratch / "table.arrow"
    began = time.monotonic()
    try:
        answer = slot.ask(
            claim,
            "validate",
            {
                "path": str(source),
                "table": str(table),
                "name": dataset.filename,
                "format": dataset.format,
                "overrides": dataset.overrides,
            },
            seconds=VALIDATE_SECONDS,
            memory_mb=slot.worker.memory_mb or INTAKE_MB,
        )
    except Ended as end:
        messages = {
            "out_of_memory": f"reading the file needed more than {slot.worker.memory_mb or INTAKE_MB} MB of memory; send less at once",
            "timed_out": f"reading the file took longer than {VALIDATE_SECONDS:.0f} s; send less at once",
            "crashed": "the file made its reader crash; it is not a readable table",
        }
        answer = {"failed": {"code": "unsupported_format", "message": messages[end.code]}}
    if "done" not in answer:
        failure = answer.get("failed") or {"code": "unsupported_format", "message": "reading was stopped"}
        error = {k: failure.get(k) for k in ("code", "message", "row", "column") if failure.get(k) is not None}
        _until_written(slot, lambda: store.finish_chore(claim, time.monotonic() - began, error))
        return
    blob = storage.put_file(table)
    _until_written(slot, lambda: rows.dataset_ready(store, claim, answer["done"], blob, time.monotonic() - began))


def run_prediction(slot: Slot, claim: Claim) -> None:
    store, storage = slot.worker.store, slot.worker.storage
    work = rows.prediction_work(store.engine, claim.ref)
    bundle = local_copy(storage, work.bundle_blob, work.bundle_sha256, slot.worker.cache / "models", ".zip")
    table = local_copy(storage, work.table_blob, work.table_sha256, slot.worker.cache / "tables", ".arrow")
    out = slot.scratch / "predictions.csv"
    began = time.monotonic()
    try:
        answer = slot.ask(
            claim,
            "predict",
            {"bundle": str(bundle), "table": str(table), "out": str(out)},
            seconds=PREDICT_SECONDS,
            memory_mb=slot.worker.memory_mb,
        )
    except Ended as end:
        answer = {"failed": {"code": end.code, "message": str(end)}}
    if "done" in answer:
        fields = {"rows": answer["done"]["rows"], "result_blob": storage.put_file(out).id}
        _until_written(slot, lambda: store.finish_chore(claim, time.monotonic() - began, **fields))
    else:
        failure = answer.get("failed") or {"code": "internal", "message": "the prediction was stopped"}
        error = {"code": failure["code"], "message": failure["message"]}
        _until_written(slot, lambda: store.finish_chore(claim, time.monotonic() - began, error))


# -- parts ------------------------------------------------------------------------------------------------------------


def _problem(storage: Storage, cache: Path, work: rows.JobWork) -> dict[str, Any]:
    paths = [str(local_copy(storage, blob, sha256, cache / "tables", ".arrow")) for blob, sha256 in work.tables]
    return {
        "paths": paths,
        "sha256": [sha256 for _, sha256 in work.tables],
        "resolved": work.resolved,
        "shelf": str(cache / "shelf"),
    }


def _known_work(slot: Slot, job: str) -> rows.JobWork:
    """What training needs of the job, read once by a slot that trains one trial of it after the other."""
    if slot.known is None or slot.known[0] != job:
        slot.known = job, rows.job_work(slot.worker.store.engine, job)
    return slot.known[1]


class Heard:
    """Writes a trial's reports, then asks the strategy whether it is worth going on with.

    The report after the last step decides nothing any more: it is written with the trial's end, in `curve`.
    """

    def __init__(self, slot: Slot, claim: Claim) -> None:
        self.curve: tuple[Report, ...] = ()
        self._slot, self._claim = slot, claim

    def __call__(self, step: int, score: float) -> bool:
        """Whether to go on.  Raises Gone."""
        report = Report(step, score)
        self.curve = extended(self.curve, report)
        if step >= self._claim.payload["max_steps"]:
            return True
        try:
            if not self._slot.worker.store.report(self._claim, report):
                self._slot.keep_lease(self._claim)  # raises Gone unless only this report came too late
            return _verdict(self._slot, self._claim, report) is Verdict.CONTINUE
        except Gone:
            raise
        except Exception:
            log.warning("report of trial %s of %s was not written", self._claim.number, self._claim.ref, exc_info=True)
            return True


def _verdict(slot: Slot, claim: Claim, report: Report) -> Verdict:
    from assay.search.advance import judge

    snapshot = slot.worker.store.snapshot(claim.ref)
    trial = next((t for t in snapshot.trials if t.number == claim.number), None)
    if trial is None:
        return Verdict.STOP
    return judge(snapshot, trial, report)


def _outcome(slot: Slot, answer: dict[str, Any], seconds: float, left: float) -> Outcome:
    printed = slot.child.log_tail() if slot.child is not None else ""
    device = "cuda" if slot.worker.lane == "gpu" else "cpu"
    if "done" in answer:
        done = answer["done"]
        return Outcome(
            TrialStatus.COMPLETED,
            score=done["score"],
            score_std=done["score_std"],
            fold_scores=tuple(done["fold_scores"]),
            seconds=done["seconds"],
            metrics=done["metrics"],
            predict_ms_per_row=done["predict_ms_per_row"],
            size_bytes=done["size_bytes"],
            device=device,
            log=printed,
        )
    if "stopped" in answer:
        return Outcome(TrialStatus.STOPPED, seconds=seconds, device=device, log=printed)
    failure = answer["failed"]
    if failure["code"] == "timed_out" and seconds >= left - 0.5:
        return Outcome(TrialStatus.STOPPED, seconds=seconds, device=device, log=printed)
    error = {k: failure[k] for k in ("code", "message", "traceback")}
    return Outcome(TrialStatus.FAILED, seconds=seconds, device=device, log=printed, error=error)


def _lately_seen(slot: Slot, claim: Claim) -> JobSnapshot | None:
    """The job as it was planned for just now, when this trial was the next step of that plan."""
    if slot.seen is None:
        return None
    (snapshot, at), slot.seen = slot.seen, None
    return replace(snapshot, elapsed=snapshot.elapsed + time.monotonic() - at) if snapshot.id == claim.ref else None


def _turn(slot: Slot, claim: Claim, outcome: Outcome, content: bytes | None = None) -> Done:
    """Write how the trial ended, and what follows if that is known already."""
    turn, ahead = _until_written(slot, lambda: slot.worker.turn(claim, outcome, content))
    if not turn.written:
        log.info("a result came too late and was dropped")
    if turn.claim is not None and ahead is not None and ahead.after is not None:
        slot.seen = ahead.after, time.monotonic()
    return Done(turn.written and ahead is not None and ahead.settled, turn.claim)


def _until_written(slot: Slot, write: Callable[[], T]) -> T:
    """Results outlive a database outage: try until it is back, or the lease must have gone to somebody else."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            written = write()
            if written is False:
                log.info("a result came too late and was dropped")
            return written
        except (KeyError, ValueError):
            raise
        except Exception:
            if time.monotonic() > until or slot.worker.stopping.is_set():
                raise
            log.warning("a result could not be written yet; trying again", exc_info=True)
            time.sleep(0.5)
