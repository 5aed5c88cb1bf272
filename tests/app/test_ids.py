"""Ids sort by age, say what they are, and never repeat."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.ids import PREFIXES, is_id, new_id


def test_ids_rise_and_never_repeat() -> None:
    made = [new_id("job") for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_ids_of_many_threads_never_repeat() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_id("evt"), range(5000)))
    assert len(set(made)) == 5000


def test_an_id_is_a_uuid_version_7_of_now() -> None:
    value = uuid.UUID(new_id("ds").removeprefix("ds_"))
    assert (value.version, value.variant) == (7, uuid.RFC_4122)
    assert abs((value.int >> 80) / 1000 - time.time()) < 60


def test_ids_rise_when_the_clock_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = new_id("job")
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000)
    assert new_id("job") > before


@pytest.mark.parametrize("prefix", sorted(PREFIXES))
def test_an_id_is_known_by_its_prefix(prefix: str) -> None:
    made = new_id(prefix)
    assert is_id(prefix, made) and len(made) <= 40
    assert not is_id("zz", made) and not is_id(prefix, made + "0") and not is_id(prefix, made.upper())


def test_unknown_prefixes_are_refused() -> None:
    with pytest.raises(ValueError, match="'cat'"):
        new_id("cat")
