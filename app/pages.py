"""Cursor pages: `?limit=` 1..100 (20) and `&after=<id>`; the answer says whether more follows and from where."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Query

from app.errors import ApiError, Fault

T = TypeVar("T")
Limit = Annotated[int, Query(ge=1, le=100, description="How many to answer at most.")]
After = Annotated[
    str | None, Query(pattern=r"^[A-Za-z0-9_]{1,100}$", description="The `next_after` of the page before.")
]


def page(rows: Sequence[T], limit: int, to_json: Callable[[T], Any], cursor: Callable[[T], Any]) -> dict[str, Any]:
    """One page from up to limit + 1 rows: the one too many only shows that there is more."""
    shown = rows[:limit]
    more = len(rows) > limit
    return {"data": [to_json(r) for r in shown], "has_more": more, "next_after": cursor(shown[-1]) if more else None}


def whole(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A collection that is never long, in the shape of a page."""
    return {"data": list(items), "has_more": False, "next_after": None}


def after_number(after: str | None) -> int:
    """The cursor of a collection that is numbered; -1 at its start."""
    if after is None:
        return -1
    if not after.isascii() or not after.isdigit() or len(after) > 18:
        message = f"must be the number that `next_after` gave, not {after!r}"
        raise ApiError("validation_error", f"?after: {message}", errors=[Fault("?after", "not_a_cursor", message)])
    return int(after)
