"""One worker: slots that claim rows and train in warm children, a dispatcher that plans jobs, and a sweep.

The same supervisor runs in the embedded service and under Celery; only who rings its bell differs.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from app.db.engine import DatabaseUnavailable
from app.storage import Storage
from app.store import SqlStore
from app.store_sql.jobs import Turn
from assay import __version__
from assay.families import discover as families
from assay.families import space_of
from assay.search.advance import advance, ask, look_ahead, queued
from assay.search.lifecycle import JobStatus
from assay.search.plan import JobSnapshot, Limits
from assay.search.store import Ahead, Claim, Outcome
from workers import rows
from workers.child import Child, prepare_server
from workers.devices import devices, free_bytes
from workers.slot import Slot

SWEEP = 2.0  # seconds between sweeps: what a lost ring costs at most
LOOKS = 4  # how often what follows a trial is thought out anew because others changed its job meanwhile
BACKOFF = 1.0  # seconds to wait after the database failed
log = logging.getLogger(__name__)


class Bell(Protocol):
    """Something that wakes the worker; a ring that is lost costs one sweep."""

    def wait(self, timeout: float) -> bool: ...


class Supervisor:
    """Runs until `stop` is called.  `store` and `storage` are shared by all its threads."""

    def __init__(
        self,
        store: SqlStore,
        storage: Storage,
        *,
        lane: str,
        slots: int,
        cache: Path,
        name: str | None = None,
        memory_mb: int | None = None,
        call: Callable[[], None] | None = None,
    ) -> None:
        """call: rings the other workers of the lane, when there is more work than this one can take."""
        self.store = store
        self.storage = storage
        self.lane = lane
        self.name = name or f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"
        self.cache = cache
        self.memory_mb = memory_mb
        self._call = call
        self.stopping = threading.Event()
        self._work = threading.Condition()
        self._rings = 0
        self._claimable = 0
        self._advance_lock = threading.Lock()
        self.slots = [Slot(self, i) for i in range(slots)]
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Warm the children and begin to claim work.  Returns at once; `ready` tells when a child is warm."""
        self.cache.mkdir(parents=True, exist_ok=True)
        prepare_server()
        for slot in self.slots:
            self._thread(f"slot-{slot.index}", slot.run)
        self._thread("dispatch", self._dispatch)

    def ready(self, seconds: float) -> bool:
        """Wait until every slot has a warm child."""
        until = time.monotonic() + seconds
        return all(slot.warm.wait(max(0.0, until - time.monotonic())) for slot in self.slots)

    def ring(self) -> None:
        """There may be something to plan or to claim."""
        with self._work:
            self._rings += 1
            self._claimable += 1
            self._work.notify_all()

    def rouse(self) -> None:
        """Wake the slots, not the dispatcher: there is work to claim and nothing to plan."""
        with self._work:
            self._claimable += 1
            self._work.notify_all()

    def offer(self, n: int) -> None:
        """n pieces of work were queued: wake the slots and, if they are too few, the other workers."""
        if n <= 0:
            return
        self.rouse()
        if self._call is not None and n > sum(not slot.busy for slot in self.slots):
            self._call()

    def wait_to_claim(self, seen: int, timeout: float) -> int:
        """Block a slot until it was roused after `seen`, or the timeout."""
        with self._work:
            self._work.wait_for(lambda: self._claimable != seen or self.stopping.is_set(), timeout)
            return self._claimable

    def wait_for_work(self, seen: int, timeout: float) -> int:
        """Block until a ring after the `seen` one, or the timeout.  Returns the newest ring."""
        with self._work:
            self._work.wait_for(lambda: self._rings != seen or self.stopping.is_set(), timeout)
            return self._rings

    def stop(self) -> None:
        """Give running work back, end all children, leave nothing behind."""
        self.stopping.set()
        self.ring()
        for thread in self._threads:
            thread.join(15)
        for slot in self.slots:
            slot.close()
        self.safely(lambda: self.store.forget_worker(self.name))

    def new_child(self, threads: int) -> Child:
        return Child(threads)

    def advance(self, job: str) -> None:
        """Plan the job's next steps and wake whoever can do them."""
        with self._advance_lock:  # one planner a process is enough; two only lose races against each other
            self.offer(advance(self.store, job))

    def turn(self, claim: Claim, outcome: Outcome, content: bytes | None = None) -> tuple[Turn, Ahead | None]:
        """Write how a trial ended and what follows, which is thought out before and told with it.

        Where there is nothing told (the job kept changing, the worker stops, a strategy fails), `advance` has to follow.
        """
        with self._advance_lock:
            turn: Turn | None = None
            for _ in range(LOOKS):
                ahead = None if self.stopping.is_set() else self._look_ahead(claim, outcome)
                turn = self.store.turn(claim, outcome, content, ahead)
                if turn is not None:
                    break
            else:
                ahead = None
        turn = turn or self.store.turn(claim, outcome, content) or Turn(False)
        if ahead is not None:
            self.offer(queued(ahead.decisions) - (turn.claim is not None))
        return turn, ahead

    def _look_ahead(self, claim: Claim, outcome: Outcome) -> Ahead | None:
        try:
            return look_ahead(self.store.snapshot(claim.ref), claim.number, outcome)
        except KeyError:
            return None  # deleted meanwhile
        except DatabaseUnavailable:
            raise
        except Exception:
            log.exception("job %s cannot be planned", claim.ref)  # whatever a strategy does, a result is kept
            return None

    def safely(self, action: Callable[[], object]) -> bool:
        """Run a database action; an outage is logged and waited out, never fatal."""
        try:
            action()
            return True
        except Exception:
            if not self.stopping.is_set():
                log.exception("worker %s: the database did not answer as expected", self.name)
                self.stopping.wait(BACKOFF)
            return False

    def _thread(self, name: str, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _dispatch(self) -> None:
        """Sweep: put lost work back, advance jobs, tell that this worker lives."""
        seen = -1
        self.safely(_import_all)
        while not self.stopping.is_set() and not self.ready(0.5):
            continue  # to be counted as alive means to be able to work at once
        while not self.stopping.is_set():
            self.safely(self._sweep)
            seen = self.wait_for_work(seen, SWEEP)
            if not self.stopping.is_set():
                self.stopping.wait(0.01)  # several rings at once are one

    def _sweep(self) -> None:
        busy = sum(slot.busy for slot in self.slots)
        self.store.beat(
            self.name, lane=self.lane, slots=len(self.slots), busy=busy, devices=devices(self.lane), version=__version__
        )
        self.store.reap()
        under_way, queued = rows.waiting(self.store.engine, self.lane)
        # as many jobs search at once as there are slots; the others keep their time budget for when it is their turn
        total = sum(w.slots for w in self.store.workers() if w.lane == self.lane)
        for job in under_way + queued[: max(0, total - len(under_way))]:
            try:
                self.advance(job)
            except KeyError:
                continue  # deleted meanwhile
            except Exception:
                log.exception("job %s cannot be advanced", job)
        if rows.has_claimable(self.store.engine, self.lane):
            self.rouse()

    def free_bytes(self) -> int:
        return free_bytes(self.lane)


def _import_all() -> None:
    """What planning the first job needs: every family with its space, and the strategies most asked for, asked once."""
    spaces = {name: space_of(f) for name, f in families().items() if "classification" in f.tasks}
    facts = {"kind": "binary", "n_rows": 1000, "n_features": 10, "n_folds": 5, "n_classes": 2}
    for strategy in ("auto", "bayesian"):
        ask(
            JobSnapshot(
                "", JobStatus.QUEUED, 0, 0, strategy, Limits(time_seconds=60.0), spaces, trials=(), builds=(), elapsed=0.0, facts=facts
            ),
            8,
        )  # fmt: skip
