"""Randomness that belongs to one trial of one job, whoever asks and whenever."""

from __future__ import annotations

from hashlib import sha256


def seed_of(seed: int, number: int, purpose: str) -> int:
    """32 bits that depend on the job's seed, the trial's number and the purpose, and on nothing else.

    Python's own hash() changes from process to process, hence SHA-256.
    """
    return int.from_bytes(sha256(f"{seed}:{number}:{purpose}".encode()).digest()[:4], "little")


def uniform_of(seed: int, number: int, purpose: str) -> float:
    """A number in [0, 1) that depends on the job's seed, the trial's number and the purpose alone."""
    return seed_of(seed, number, purpose) / 2.0**32
