"""The store in memory keeps what every store keeps."""

from __future__ import annotations

import itertools

from assay.search.lifecycle import JobStatus
from assay.search.plan import JobSnapshot, Limits
from assay.search.store import InMemoryStore
from assay.testing.stores import StoreSuite


class TestInMemoryStore(StoreSuite):
    def make(self, limits: Limits | None = None) -> tuple[InMemoryStore, str]:
        self.now = 1000.0
        self.numbers = itertools.count()
        store = InMemoryStore(lambda: self.now)
        return store, self.add(store, limits)

    def add(self, store: InMemoryStore, limits: Limits | None = None) -> str:
        job = f"job{next(self.numbers)}"
        store.add(
            JobSnapshot(
                id=job, status=JobStatus.QUEUED, revision=0, seed=0, strategy="random", limits=limits or Limits(),
                spaces={}, trials=(), builds=(), elapsed=0.0,
            )
        )  # fmt: skip
        return job

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
