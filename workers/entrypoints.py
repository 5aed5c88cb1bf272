"""What a message may ask of a worker.  Messages carry no work: rows do."""

from __future__ import annotations

from workers.supervisor import Supervisor


def wake(worker: Supervisor | None) -> None:
    """Ring the supervisor of this process, once it is up."""
    if worker is not None:
        worker.ring()
