"""One slot of a worker: claims a piece of work, has its child do it, writes down how it ended."""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.search.store import Claim
from workers.child import Child
from workers.devices import cores

if TYPE_CHECKING:
    from assay.search.plan import JobSnapshot
    from workers.rows import JobWork
    from workers.supervisor import Supervisor

POLL = 0.2  # seconds between looks at the clock, the lease and the memory of a child
RENEW = 1.0  # seconds between renewals: how long a cancel can stay unheard
GRACE = 1.5  # seconds a child gets to end softly before its group is killed
IDLE = 2.0  # seconds a slot waits for a ring before it looks by itself
log = logging.getLogger(__name__)


class Gone(Exception):
    """The work is not this slot's any more, or not wanted: nothing is written."""


class Ended(Exception):
    """The child ended the work badly.  code: crashed, timed_out or out_of_memory."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Done:
    """What a piece of work leaves to do: plan for its job, unless that is settled, and perhaps a claim to go on with."""

    settled: bool = False
    claim: Claim | None = None


class Slot:
    """A thread with one warm child."""

    def __init__(self, worker: Supervisor, index: int) -> None:
        self.worker = worker
        self.index = index
        self.warm = threading.Event()
        self.busy = False
        self.child: Child | None = None
        self.known: tuple[str, JobWork] | None = None  # the job it trained for last, and what that needs
        self.seen: tuple[JobSnapshot, float] | None = None  # that job as it was at a moment of time.monotonic()
        self.scratch = Path(tempfile.mkdtemp(prefix="assay-slot-"))

    def run(self) -> None:
        seen = -1
        while not self.worker.stopping.is_set():
            try:
                self._warm_up()
                claim = self.worker.store.claim(self.worker.name, self.worker.lane, self.worker.free_bytes())
            except Exception:
                if not self.worker.stopping.is_set():
                    log.exception("slot %d cannot claim work", self.index)
                    self.worker.stopping.wait(1.0)
                continue
            if claim is None:
                seen = self.worker.wait_to_claim(seen, IDLE)
                continue
            self.busy = True
            try:
                while claim is not None:
                    claim = self._do(claim)
            finally:
                self.busy = False

    def close(self) -> None:
        if self.child is not None:
            self.child.close()
            self.child = None
        shutil.rmtree(self.scratch, ignore_errors=True)

    def threads(self) -> int:
        """One thread a child while slots and cores match; a lone slot on a large machine uses them all."""
        return max(1, cores() // max(1, len(self.worker.slots)))

    def free_cores(self) -> int:
        """Cores that this slot's child may use now: its own, and those of slots that have nothing to do."""
        idle = sum(not slot.busy for slot in self.worker.slots if slot is not self)
        return min(cores(), self.threads() * (1 + idle))

    # -- the child ------------------------------------------------------------------------------------------------

    def _warm_up(self) -> Child:
        if self.child is None:
            child = self.worker.new_child(self.threads())
            try:
                child.wait_ready()
            except Exception:
                child.close()
                raise
            self.child = child
            self.warm.set()
        return self.child

    def _drop_child(self) -> None:
        if self.child is not None:
            self.child.close()
            self.child = None

    def ask(
        self,
        claim: Claim,
        do: str,
        fields: dict[str, Any],
        *,
        seconds: float,
        soft_seconds: float | None = None,
        memory_mb: int | None = None,
        on_report: Callable[[int, float], bool] | None = None,
    ) -> dict[str, Any]:
        """Have the child do something while the lease is kept.

        Returns the child's answer: {"done"}, {"failed"} or {"stopped"}.  seconds: killed after; soft_seconds: asked to stop
        after.  on_report(step, score) answers whether to go on.  Raises Gone (lease lost, or work unwanted) and Ended
        (crash, time, memory); the child is dead then.
        """
        child = self._warm_up()
        started = time.monotonic()
        renewed = started
        request = child.ask(do, **fields)
        asked_to_stop: float | None = None
        while True:
            try:
                message = child.hear(POLL)
            except (EOFError, OSError):
                code, tail = child.exit_code, child.log_tail(2000).strip()
                self._drop_child()
                raise Ended(
                    "crashed", f"the training process died with exit code {code}" + (f": {tail[-500:]}" if tail else "")
                ) from None
            now = time.monotonic()
            if message is not None and message.get("id") == request:
                if "report" not in message:
                    return message
                wanted = on_report is None or on_report(*message["report"])
                if not wanted and asked_to_stop is None:
                    asked_to_stop = now
                    self._ask_to_stop(child, request)
            if self.worker.stopping.is_set():
                self._drop_child()
                self.worker.safely(lambda: self.worker.store.release(claim))
                raise Gone
            if now - renewed >= RENEW:
                renewed = now
                self.keep_lease(claim)
            if memory_mb is not None and child.resident_bytes() > memory_mb << 20:
                self._drop_child()
                raise Ended("out_of_memory", f"the work needed more than its limit of {memory_mb} MB")
            if soft_seconds is not None and now - started > soft_seconds and asked_to_stop is None:
                asked_to_stop = now
                self._ask_to_stop(child, request)
            if now - started > seconds or (asked_to_stop is not None and now - asked_to_stop > GRACE):
                self._drop_child()
                if now - started > seconds:
                    raise Ended("timed_out", f"the work was killed after its limit of {seconds:.1f} s")
                return {"id": request, "stopped": True}

    def _ask_to_stop(self, child: Child, request: str) -> None:
        try:
            child.stop(request)
        except OSError:
            log.debug("the child is gone already")

    def keep_lease(self, claim: Claim) -> None:
        """Renew; an unreachable database is waited out, since the lease may still be ours when it is back."""
        try:
            mine = self.worker.store.renew(claim)
        except Exception:
            log.warning(
                "the lease of %s %s/%s could not be renewed", claim.kind, claim.ref, claim.number, exc_info=True
            )
            return
        if not mine:
            self._drop_child()
            self.worker.safely(lambda: self.worker.store.release(claim))  # unwanted, not lost: give it back unharmed
            raise Gone

    # -- the work -------------------------------------------------------------------------------------------------

    def _do(self, claim: Claim) -> Claim | None:
        """Do the work; returns the claim to go on with, if that was written with the end of this one."""
        from workers.runner import run

        log.info("claimed", extra={"kind": claim.kind, "job": claim.ref, "trial": claim.number})
        done = Done()
        try:
            done = run(self, claim)
        except Gone:
            log.info("given up", extra={"kind": claim.kind, "job": claim.ref, "trial": claim.number})
        except Exception:
            log.exception("%s %s/%s could not be finished", claim.kind, claim.ref, claim.number)
            self._drop_child()
            self.worker.safely(lambda: self.worker.store.release(claim))
            self.worker.stopping.wait(0.5)
        finally:
            for leftover in self.scratch.iterdir():
                shutil.rmtree(leftover, ignore_errors=True) if leftover.is_dir() else leftover.unlink(missing_ok=True)
        if claim.kind in ("trial", "build") and not done.settled:
            self.worker.safely(lambda: self._advance(claim.ref))
        return done.claim

    def _advance(self, job: str) -> None:
        try:
            self.worker.advance(job)
        except KeyError:
            log.info("job %s was deleted meanwhile", job)
