"""Rows are made once, whatever processes need them, and a dead one stands in nobody's way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from assay.data import shelf

N = 3 * shelf.BLOCK + 5
KEYS = [shelf.digest(str(i).encode()) for i in range(N)]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Iterator[Path]:
    shelf.use(tmp_path)
    yield tmp_path
    shelf.use(None)


class Maker:
    def __init__(self, offset: int = 0) -> None:
        self.made: list[int] = []
        self.offset = offset

    def __call__(self, rows: Sequence[int]) -> np.ndarray:
        self.made += rows
        return np.array([[i + self.offset, 2 * i] for i in rows], np.float32)


def test_rows_come_in_their_order_and_the_second_reader_makes_none() -> None:
    first, second = Maker(), Maker()
    found = shelf.shelved("squares", KEYS, first)
    np.testing.assert_array_equal(found, first(range(N)))
    np.testing.assert_array_equal(shelf.shelved("squares", KEYS, second), found)
    assert second.made == []


def test_another_kind_or_other_rows_are_made_anew() -> None:
    shelf.shelved("squares", KEYS, Maker())
    other, changed = Maker(1), Maker()
    assert shelf.shelved("cubes", KEYS, other)[0, 0] == 1
    keys = [*KEYS[:-1], shelf.digest(b"changed")]
    shelf.shelved("squares", keys, changed)
    assert changed.made == list(range(3 * shelf.BLOCK, N))  # the last block alone


def test_what_a_killed_process_had_begun_is_made_by_the_next(folder: Path) -> None:
    def dies(rows: Sequence[int]) -> np.ndarray:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shelf.shelved("squares", KEYS, dies)
    assert len(list(folder.glob("*.busy"))) == 1
    found = shelf.shelved("squares", KEYS, Maker())
    np.testing.assert_array_equal(found[:, 0], np.arange(N))
    assert not list(folder.glob("*.busy"))


def test_a_broken_file_is_made_anew(folder: Path) -> None:
    shelf.shelved("squares", KEYS, Maker())
    next(folder.glob("*.npy")).write_bytes(b"not an array")
    found = shelf.shelved("squares", KEYS, Maker())
    np.testing.assert_array_equal(found[:, 0], np.arange(N))


def test_without_a_shelf_everything_is_made_at_once(folder: Path) -> None:
    shelf.use(None)
    maker = Maker()
    shelf.shelved("squares", KEYS, maker)
    assert maker.made == list(range(N)) and not list(folder.iterdir())


def test_the_oldest_files_go_when_it_grows_too_large(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for i in range(4):
        (folder / f"{i}.npy").write_bytes(bytes(1000))
        os.utime(folder / f"{i}.npy", (i, i))
    monkeypatch.setattr(shelf, "KEPT_BYTES", 2500)
    shelf.use(folder)
    assert sorted(p.name for p in folder.iterdir()) == ["2.npy", "3.npy"]
