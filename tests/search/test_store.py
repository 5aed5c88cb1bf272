"""The store in memory keeps what every store keeps."""

from __future__ import annotations

from assay.search.lifecycle import JobStatus
from assay.search.plan import JobSnapshot, Limits
from assay.search.store import InMemoryStore
from assay.testing.stores import StoreSuite


class TestInMemoryStore(StoreSuite):
    def make(self, limits: Limits | None = None) -> tuple[InMemoryStore, str]:
        self.now = 1000.0
        store = InMemoryStore(lambda: self.now)
        store.add(
            JobSnapshot(
                id="job", status=JobStatus.QUEUED, revision=0, seed=0, strategy="random", limits=limits or Limits(),
                spaces={}, trials=(), builds=(), elapsed=0.0,
            )
        )  # fmt: skip
        return store, "job"

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
