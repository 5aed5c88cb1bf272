"""Blobs: whole, in pieces, resumed, shared, collected; on both databases."""

from __future__ import annotations

import hashlib
import random
import threading
import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, insert, select

from app.clock import utc_now
from app.db.engine import transaction
from app.db.tables import BlobChunkRow, BlobRow, UploadRow, table
from app.storage import CHUNK, BlobConflict, BlobGone, Storage
from tests.app.conftest import Hands

HOUR = timedelta(hours=1)


@pytest.fixture
def storage(engine: Engine, clock: Hands) -> Storage:
    return Storage(engine, clock)


def noise(n: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(n)


def count(engine: Engine, row: type[BlobRow] | type[BlobChunkRow]) -> int:
    with transaction(engine, read_only=True) as connection:
        return int(connection.scalar(select(func.count()).select_from(table(row))) or 0)


def refer(engine: Engine, blob_id: int) -> None:
    now = utc_now()
    upload = {"id": f"upl_{blob_id}", "owner": "me", "filename": "f", "size": 1, "received": 0, "status": "open"}
    with transaction(engine) as connection:
        connection.execute(insert(UploadRow).values(**upload, blob=blob_id, created_at=now, updated_at=now))


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 7])
def test_what_is_put_can_be_read_and_copied(storage: Storage, tmp_path: Path, size: int) -> None:
    content = noise(size)
    blob = storage.put(content[at : at + 100_000] for at in range(0, size, 100_000))
    assert (blob.size, blob.sha256) == (size, hashlib.sha256(content).hexdigest())
    assert storage.read(blob.id) == content
    assert storage.get(blob.id) == blob
    storage.write_to(blob.id, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    assert storage.put_file(tmp_path / "copy") == blob


def test_any_range_is_cut_exactly(storage: Storage) -> None:
    content = noise(2 * CHUNK + 1000)
    blob = storage.put(content)
    cuts = [(0, 0), (0, 1), (CHUNK - 1, CHUNK + 1), (CHUNK, 2 * CHUNK), (5, None), (2 * CHUNK, 10**9), (10**9, None)]
    for start, end in cuts:
        assert b"".join(storage.open_range(blob.id, start, end)) == content[start:end], (start, end)


def test_equal_content_is_stored_once_even_when_it_arrives_at_once(storage: Storage, engine: Engine) -> None:
    content = noise(3 * CHUNK)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(storage.put(content).id)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6 and len(set(found)) == 1
    assert (count(engine, BlobRow), count(engine, BlobChunkRow)) == (1, 3)


def test_a_source_that_breaks_leaves_nothing(storage: Storage, engine: Engine) -> None:
    def breaking() -> Iterator[bytes]:
        yield noise(20 * CHUNK)
        raise ConnectionError("the client left")

    with pytest.raises(ConnectionError):
        storage.put(breaking())
    assert (count(engine, BlobRow), count(engine, BlobChunkRow)) == (0, 0)


def test_an_upload_goes_on_where_it_stopped_after_a_restart(storage: Storage, engine: Engine) -> None:
    content = noise(3 * CHUNK + 12345)
    blob_id = storage.begin()
    at = 0
    for step in (1, 700_000, CHUNK, 12, 10**9):
        fresh = Storage(engine)  # nothing is remembered between the pieces but the rows
        assert fresh.received(blob_id) == at
        with fresh.append(blob_id) as writer:
            writer.write(content[at : at + step])
            at = writer.flush()
    with pytest.raises(BlobGone):
        storage.get(blob_id)  # not readable as a finished one before it is
    blob = storage.append(blob_id).finish()
    assert blob.id == blob_id and blob.sha256 == hashlib.sha256(content).hexdigest()
    assert storage.read(blob_id) == content


def test_a_resumed_upload_keeps_what_came_before_the_connection_broke(storage: Storage) -> None:
    blob_id = storage.begin()
    with pytest.raises(ConnectionError), storage.append(blob_id) as writer:
        writer.write(b"0123456789")
        raise ConnectionError
    assert storage.received(blob_id) == 10


def test_the_second_of_two_writers_is_refused(storage: Storage) -> None:
    blob_id = storage.begin()
    first, second = storage.append(blob_id), storage.append(blob_id)
    first.write(b"one")
    first.flush()
    second.write(b"two")
    with pytest.raises(BlobConflict, match="offset"):
        second.flush()
    assert storage.received(blob_id) == 3
    first.finish()
    with pytest.raises(BlobConflict):
        late = storage.append(blob_id)
        late.write(b"more")
        late.flush()
    assert storage.read(blob_id) == b"one"


def test_an_upload_of_known_content_ends_as_the_known_blob(storage: Storage, engine: Engine) -> None:
    known = storage.put(b"the same")
    blob_id = storage.begin()
    with storage.append(blob_id) as writer:
        writer.write(b"the same")
        assert writer.finish() == known
    assert count(engine, BlobRow) == 1


def test_only_old_blobs_without_a_reference_are_collected(storage: Storage, engine: Engine, clock: Hands) -> None:
    used, orphan, aborted, upload = storage.put(b"used"), storage.put(b"orphan"), storage.begin(), storage.begin()
    refer(engine, used.id)
    refer(engine, upload)
    clock.now += HOUR - timedelta(seconds=1)
    assert storage.collect() == 0
    young = storage.put(b"young")
    clock.now += timedelta(seconds=2)
    assert storage.collect() == 2
    for gone in (orphan.id, aborted):
        with pytest.raises(BlobGone):
            storage.received(gone)
    assert storage.read(used.id) == b"used" and storage.read(young.id) == b"young" and storage.received(upload) == 0
    assert storage.collect(timedelta(0)) == 1  # at once, if asked


def test_content_found_again_starts_its_hour_anew(storage: Storage, clock: Hands) -> None:
    blob = storage.put(b"again")
    clock.now += 2 * HOUR
    assert storage.put(b"again") == blob
    assert storage.collect() == 0
    assert storage.read(blob.id) == b"again"


def test_a_big_orphan_goes_whole_and_its_content_can_come_back(storage: Storage, engine: Engine, clock: Hands) -> None:
    content = noise(CHUNK // 2) * 80  # 40 MiB: several steps of deleting on SQLite
    first = storage.put(content)
    clock.now += 2 * HOUR
    assert storage.collect() == 1
    assert (count(engine, BlobRow), count(engine, BlobChunkRow)) == (0, 0)
    second = storage.put(content)
    assert second.sha256 == first.sha256 and second.id != first.id  # an id is never given twice


def test_a_damaged_blob_is_not_copied(storage: Storage, engine: Engine, tmp_path: Path) -> None:
    blob = storage.put(b"sound")
    with transaction(engine) as connection:
        chunks = table(BlobChunkRow)
        connection.execute(chunks.update().where(chunks.c.blob_id == blob.id).values(data=b"s0und"))
    with pytest.raises(BlobGone, match="damaged"):
        storage.write_to(blob.id, tmp_path / "copy")
    assert list(tmp_path.glob("*copy*")) == []


def test_memory_stays_flat(storage: Storage, engine: Engine) -> None:
    piece = noise(CHUNK)
    storage.put(piece)  # warm up
    tracemalloc.start()
    blob = storage.put(piece for _ in range(60))
    assert sum(len(p) for p in storage.open_range(blob.id)) == 60 * CHUNK
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < (15 if engine.dialect.name == "sqlite" else 45) * CHUNK


def test_what_is_not_there_says_so(storage: Storage) -> None:
    for read in (storage.get, storage.received, storage.append, lambda i: list(storage.open_range(i))):
        with pytest.raises(BlobGone, match="no blob 4711"):
            read(4711)
