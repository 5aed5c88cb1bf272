"""Which families can run on this machine."""

from __future__ import annotations

from collections.abc import Sequence


def available(families: Sequence[str]) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """Families that can run here, and why the others cannot: what their `missing()` says, where they have one."""
    from assay.families import discover

    known = discover()
    why = {f: str(told) for f in families if (told := getattr(known[f], "missing", lambda: "")())}
    kept = tuple(f for f in families if f not in why)
    return (kept, sorted(why.items())) if kept else (tuple(families), [])
