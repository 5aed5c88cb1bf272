"""What every store must keep, as a suite that an implementation's tests inherit."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from assay.search.lifecycle import JobStatus
from assay.search.plan import BuildModel, FinishJob, Limits
from assay.search.store import LEASE, MAX_ATTEMPTS, Claim, Outcome, Started, Store
from assay.search.trial import Proposal, Report, TrialStatus

DONE = Outcome(TrialStatus.COMPLETED, score=0.7, score_std=0.1, fold_scores=(0.6, 0.8), seconds=1.0)


class StoreSuite:
    """Inherit and give `make(limits) -> (store, job id)` for a fresh job, and `pass_time(seconds)`."""

    def make(self, limits: Limits | None = None) -> tuple[Store, str]:
        raise NotImplementedError("return a store with one queued job of lane cpu")

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
