"""What every store must keep, as a suite that an implementation's tests inherit."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from assay.search.lifecycle import ENDED, VERBS, JobStatus, verb_target
from assay.search.plan import BuildModel, FinishJob, Limits
from assay.search.store import LEASE, MAX_ATTEMPTS, MAX_CURVE, Claim, Outcome, Started, Store
from assay.search.trial import Proposal, Report, TrialStatus

DONE = Outcome(TrialStatus.COMPLETED, score=0.7, score_std=0.1, fold_scores=(0.6, 0.8), seconds=1.0)


class StoreSuite:
    """Inherit and give `make(limits) -> (store, job id)`, `add(store) -> job id` and `pass_time(seconds)`."""

    def make(self, limits: Limits | None = None) -> tuple[Store, str]:
        raise NotImplementedError("return a store with one queued job of lane cpu")

    def add(self, store: Any) -> str:
        raise NotImplementedError("add one more queued job of lane cpu to the store, and return its id")

    def pass_time(self, seconds: float) -> None:
        raise NotImplementedError("let the store's clock go on")

    def queue(self, store: Store, job: str, n: int) -> None:
        proposals = tuple(Proposal("x", {"a": i}) for i in range(n))
        assert store.apply(job, store.snapshot(job).revision, [Started(proposals, "random", (5,) * n)])

    def take(self, store: Store, worker: str = "w") -> Claim:
        claim = store.claim(worker, "cpu", 1 << 40)
        assert claim is not None
        return claim

    def test_a_claim_hands_out_trials_in_order_and_starts_the_clock(self) -> None:
        store, job = self.make()
        self.queue(store, job, 2)
        assert store.snapshot(job).elapsed == 0.0
        first, second = self.take(store), self.take(store)
        assert (first.kind, first.number, second.number) == ("trial", 0, 1)
        assert first.payload["family"] == "x"
        assert store.claim("w", "cpu", 0) is None
        self.pass_time(2.0)
        snapshot = store.snapshot(job)
        assert snapshot.status is JobStatus.RUNNING
        assert snapshot.elapsed == pytest.approx(2.0, abs=0.5)

    def test_another_lane_gets_nothing(self) -> None:
        store, job = self.make()
        self.queue(store, job, 1)
        assert store.claim("w", "gpu", 0) is None

    def test_a_finished_trial_keeps_what_it_found_and_ends_once(self) -> None:
        store, job = self.make()
        self.queue(store, job, 1)
        claim = self.take(store)
        assert store.report(claim, Report(1, 0.5))
        assert store.finish(claim, DONE)
        assert not store.finish(claim, DONE)
        (trial,) = store.snapshot(job).trials
        assert (trial.status, trial.score, trial.fold_scores) == (TrialStatus.COMPLETED, 0.7, (0.6, 0.8))
        assert trial.curve[0] == Report(1, 0.5)

    def test_a_stale_token_writes_nothing(self) -> None:
        store, job = self.make()
        self.queue(store, job, 1)
        old = self.take(store)
        self.pass_time(LEASE + 1)
        assert store.reap() == [job]
        new = self.take(store, "other")
        assert not store.renew(old)
        assert not store.report(old, Report(1, 0.1))
        assert not store.finish(old, DONE)
        assert store.finish(new, DONE)

    def test_a_renewed_lease_is_kept(self) -> None:
        store, job = self.make()
        self.queue(store, job, 1)
        claim = self.take(store)
        self.pass_time(LEASE - 5)
        assert store.renew(claim)
        self.pass_time(LEASE - 5)
        assert store.reap() == []
        assert store.finish(claim, DONE)

    def test_a_trial_that_loses_its_worker_too_often_is_failed(self) -> None:
        store, job = self.make()
        self.queue(store, job, 1)
        for _ in range(MAX_ATTEMPTS):
            self.take(store)
            self.pass_time(LEASE + 1)
            store.reap()
        assert store.claim("w", "cpu", 0) is None
        (trial,) = store.snapshot(job).trials
        assert (trial.status, trial.error) == (TrialStatus.FAILED, "worker_lost")

    def test_work_given_back_does_not_count_as_an_attempt(self) -> None:
        store, job = self.make()
        self.queue(store, job, 1)
        for _ in range(MAX_ATTEMPTS + 2):
            assert store.release(self.take(store))
        assert store.snapshot(job).trials[0].status is TrialStatus.QUEUED

    def test_a_decision_on_an_old_snapshot_is_refused(self) -> None:
        store, job = self.make()
        revision = store.snapshot(job).revision
        self.queue(store, job, 1)
        assert not store.apply(job, revision, [BuildModel(True)])
        assert store.snapshot(job).builds == ()

    def test_nothing_proposed_means_exhausted(self) -> None:
        store, job = self.make()
        self.queue(store, job, 0)
        assert store.snapshot(job).exhausted

    def test_a_report_renews_the_lease_and_refuses_no_decision(self) -> None:
        store, job = self.make()
        self.queue(store, job, 1)
        claim = self.take(store)
        revision = store.snapshot(job).revision
        for step in (1, 2):
            self.pass_time(LEASE - 5)
            assert store.report(claim, Report(step, 0.5))
        assert store.reap() == []
        assert store.snapshot(job).trials[0].curve == (Report(1, 0.5), Report(2, 0.5))
        assert store.apply(job, revision, [BuildModel(False)])

    def test_a_long_curve_is_thinned_but_keeps_its_newest_point(self) -> None:
        store, job = self.make()
        self.queue(store, job, 1)
        claim = self.take(store)
        for step in range(1, MAX_CURVE + 60):
            assert store.report(claim, Report(step, step / 1000))
            curve = store.snapshot(job).trials[0].curve if step >= MAX_CURVE - 1 else (Report(step, step / 1000),)
            assert len(curve) <= MAX_CURVE
            assert curve[-1] == Report(step, step / 1000)
        steps = [r.step for r in curve]
        assert steps == sorted(set(steps))

    def test_a_trial_ends_only_as_what_trials_end_as(self) -> None:
        store, job = self.make()
        self.queue(store, job, 1)
        claim = self.take(store)
        with pytest.raises(ValueError, match="queued"):
            store.finish(claim, Outcome(TrialStatus.QUEUED))
        assert store.finish(claim, Outcome(TrialStatus.FAILED, error={"code": "diverged", "message": "NaN"}))
        assert store.snapshot(job).trials[0].error == "diverged"

    def test_a_trial_that_ended_keeps_its_planned_length_unless_told_another(self) -> None:
        store, job = self.make()
        self.queue(store, job, 2)
        assert store.finish(self.take(store), DONE)
        assert store.finish(self.take(store), replace(DONE, max_steps=3))
        assert [t.max_steps for t in store.snapshot(job).trials] == [5, 3]

    def test_jobs_share_the_workers_fairly(self) -> None:
        store, first = self.make()
        second = self.add(store)
        self.queue(store, first, 3)
        self.queue(store, second, 3)
        claims = [self.take(store) for _ in range(6)]
        assert [c.ref for c in claims] == [first, second] * 3
        assert [c.number for c in claims] == [0, 0, 1, 1, 2, 2]

    def test_a_build_goes_before_trials_and_ends_once(self) -> None:
        store, job = self.make()
        self.queue(store, job, 2)
        assert store.finish(self.take(store), DONE)
        assert store.apply(job, store.snapshot(job).revision, [BuildModel(True)])
        claim = self.take(store)
        assert (claim.kind, claim.payload["final"]) == ("build", True)
        assert store.finish_build(claim, None, 1.5, {"code": "internal", "message": "no"})
        assert not store.finish_build(claim, None, 1.5, None)
        (build,) = store.snapshot(job).builds
        assert (build.status, build.seconds, build.after_trials) == ("failed", 1.5, 1)

    def test_a_build_that_loses_its_worker_too_often_is_failed(self) -> None:
        store, job = self.make()
        self.queue(store, job, 1)
        assert store.finish(self.take(store), DONE)
        assert store.apply(job, store.snapshot(job).revision, [BuildModel(True)])
        for attempt in range(MAX_ATTEMPTS):
            claim = self.take(store)
            assert store.release(claim) if attempt == 0 else store.renew(claim)
            claim = self.take(store) if attempt == 0 else claim
            self.pass_time(LEASE + 1)
            assert store.reap() == [job]
            assert not store.finish_build(claim, None, 1.0, None)
        assert [b.status for b in store.snapshot(job).builds] == ["failed"]
        assert store.claim("w", "cpu", 0) is None

    def test_a_cancelled_search_may_still_build(self) -> None:
        store, job = self.make()
        self.queue(store, job, 1)
        assert store.finish(self.take(store), DONE)
        assert store.apply(job, store.snapshot(job).revision, [BuildModel(True)])
        claim = self.take(store)
        store.request(job, "cancel")
        assert store.renew(claim)
        assert store.finish_build(claim, None, 1.0, None)
        assert store.snapshot(job).builds[0].status == "done"

    def test_finish_stops_queued_trials_and_lost_ones_are_not_tried_again(self) -> None:
        store, job = self.make()
        self.queue(store, job, 3)
        self.take(store)
        assert store.request(job, "finish") is JobStatus.FINISHING
        self.pass_time(LEASE + 1)
        assert store.reap() == [job]
        assert [t.status for t in store.snapshot(job).trials] == [TrialStatus.STOPPED] * 3
        assert store.claim("w", "cpu", 0) is None

    def test_nothing_of_an_ended_job_stays_open(self) -> None:
        store, job = self.make()
        self.queue(store, job, 2)
        claim = self.take(store)
        decisions = [BuildModel(False), FinishJob(JobStatus.FAILED, error="no")]
        assert store.apply(job, store.snapshot(job).revision, decisions)  # type: ignore[arg-type]
        snapshot = store.snapshot(job)
        assert {t.status for t in snapshot.trials} == {TrialStatus.STOPPED}
        assert [b.status for b in snapshot.builds] == ["failed"]
        assert not store.renew(claim)
        assert not store.report(claim, Report(1, 0.5))
        assert not store.finish(claim, DONE)
        assert not store.release(claim)
        assert store.claim("w", "cpu", 0) is None
        with pytest.raises(ValueError, match="failed"):
            store.apply(job, snapshot.revision, [FinishJob(JobStatus.CANCELLED)])
        assert store.snapshot(job).revision == snapshot.revision

    def test_a_reopened_job_goes_on_with_its_trials_and_its_time(self) -> None:
        store, job = self.make(Limits(trials=1))
        with pytest.raises(ValueError, match="not ended"):
            store.reopen(job)
        self.queue(store, job, 1)
        claim = self.take(store)
        self.pass_time(3)
        store.finish(claim, DONE)
        assert store.apply(job, store.snapshot(job).revision, [Started((), "random")])
        assert store.apply(job, store.snapshot(job).revision, [FinishJob(JobStatus.SUCCEEDED)])
        self.pass_time(1000)
        store.reopen(job, Limits(trials=2))
        snapshot = store.snapshot(job)
        assert (snapshot.status, snapshot.exhausted, snapshot.restarted_at) == (JobStatus.QUEUED, False, 1)
        assert snapshot.limits.trials == 2
        assert snapshot.elapsed == pytest.approx(3.0)
        self.queue(store, job, 1)
        assert self.take(store).number == 1
        self.pass_time(2)
        assert store.snapshot(job).elapsed == pytest.approx(5.0)

    @pytest.mark.parametrize("verb", sorted(VERBS))
    @pytest.mark.parametrize("status", list(JobStatus))
    def test_a_verb_does_what_the_table_says(self, status: JobStatus, verb: str) -> None:
        store, job = self.make()
        self.bring(store, job, status)
        try:
            then = verb_target(verb, status)
        except ValueError as impossible:
            with pytest.raises(ValueError, match=str(impossible)):
                store.request(job, verb)
            assert store.snapshot(job).status is status
            return
        assert store.request(job, verb) is (then or status)
        assert store.request(job, verb) is (then or status)  # again: nothing left to do
        assert store.snapshot(job).status is (then or status)

    def bring(self, store: Store, job: str, status: JobStatus) -> None:
        """A fresh job to a status."""
        before = {
            JobStatus.QUEUED: [],
            JobStatus.PAUSED: ["pause"],
            JobStatus.CANCELLING: ["cancel"],
            JobStatus.FINISHING: ["finish"],
        }
        if status in before:
            for verb in before[status]:
                store.request(job, verb)
        else:
            self.queue(store, job, 1)
            self.take(store)
        if status is JobStatus.PAUSING:
            store.request(job, "pause")
        if status is JobStatus.CANCELLED:
            store.request(job, "cancel")
        if status in ENDED:
            assert store.apply(job, store.snapshot(job).revision, [FinishJob(status)])
        assert store.snapshot(job).status is status

    def test_an_unknown_job_is_a_key_error(self) -> None:
        store, _ = self.make()
        for ask in (store.snapshot, store.reopen, lambda job: store.request(job, "pause")):
            with pytest.raises(KeyError):
                ask("job_none")

    def test_cancel_stops_queued_trials_and_makes_running_ones_unwanted(self) -> None:
        store, job = self.make()
        self.queue(store, job, 2)
        claim = self.take(store)
        assert store.request(job, "cancel") is JobStatus.CANCELLING
        assert store.request(job, "cancel") is JobStatus.CANCELLING
        assert not store.renew(claim)
        store.release(claim)
        assert {t.status for t in store.snapshot(job).trials} == {TrialStatus.STOPPED}
        with pytest.raises(ValueError, match="pause"):
            store.request(job, "pause")

    def test_pause_gives_running_work_back_and_resume_goes_on(self) -> None:
        store, job = self.make()
        self.queue(store, job, 1)
        claim = self.take(store)
        store.request(job, "pause")
        assert not store.renew(claim)
        store.release(claim)
        assert store.claim("w", "cpu", 0) is None
        assert store.apply(job, store.snapshot(job).revision, [FinishJob(JobStatus.PAUSED)])
        before = store.snapshot(job).elapsed
        self.pass_time(50)
        assert store.snapshot(job).elapsed == before
        assert store.request(job, "resume") is JobStatus.QUEUED
        assert self.take(store).number == 0

    def test_many_threads_never_get_the_same_work(self) -> None:
        store, job = self.make()
        self.queue(store, job, 24)
        found: list[int] = []
        errors: list[Any] = []

        def work(name: str) -> None:
            try:
                while (claim := store.claim(name, "cpu", 0)) is not None:
                    found.append(claim.number)
                    assert store.finish(claim, DONE)
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not errors
        assert sorted(found) == list(range(24))
        assert all(t.status is TrialStatus.COMPLETED for t in store.snapshot(job).trials)
