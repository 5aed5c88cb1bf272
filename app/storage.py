"""Bytes in the database: content-addressed blobs in rows of one MiB, written and read in flat memory."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Executable,
    LargeBinary,
    bindparam,
    delete,
    exists,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from app.clock import Clock, utc_now
from app.db.engine import glance, transaction
from app.db.tables import Base, BlobChunkRow, BlobRow, table
from assay.errors import AssayError

CHUNK = 1 << 20  # bytes in a row; memory in use is a few of these, whatever the size of the blob
ROWS_PER_COMMIT = {"sqlite": 4, "postgresql": 16}  # few on SQLite, whose one write lock others wait for
ORPHAN_AGE = timedelta(hours=1)  # a blob without a reference is kept this long: its row may be about to be written

_blobs = table(BlobRow)
_chunks = table(BlobChunkRow)


class BlobGone(AssayError):
    """The bytes are no longer there: their owner was deleted while they were read or written."""

    code = "gone"


class BlobConflict(AssayError):
    """Two writers appended to one unfinished blob; the second one must ask for the offset and go on from there."""

    code = "upload_offset_mismatch"


SMALL = 1 << 18  # bytes that may be stored as a part of another transaction, which then holds its locks a bit longer


@dataclass(frozen=True)
class Blob:
    """A finished blob.  sha256 is hexadecimal."""

    id: int
    sha256: str
    size: int


class Storage:
    """Blobs by id.  Equal content is stored once; blobs nobody refers to are collected."""

    def __init__(self, engine: Engine, clock: Clock = utc_now) -> None:
        self._engine = engine
        self._clock = clock

    def put(self, content: Iterable[bytes] | bytes) -> Blob:
        """Store content, or find it stored already.  An error while it is read leaves nothing behind."""
        pieces = iter([content] if isinstance(content, bytes) else content)
        first = bytearray()
        for piece in pieces:
            first += piece
            if len(first) > CHUNK:
                break
        else:
            return self._put_small(bytes(first))
        with self.writer() as writer:
            writer.write(first)
            for piece in pieces:
                writer.write(piece)
            return writer.finish()

    def _put_small(self, data: bytes) -> Blob:
        """Content of one row at most, in one transaction instead of four: most checkpoints are so small."""
        sha256 = hashlib.sha256(data).hexdigest()
        while True:
            try:
                with transaction(self._engine) as connection:
                    found = _touched(connection, sha256, self._clock())
                    if found is not None:
                        return found
                    values = {"sha256": sha256, "size": len(data), "created_at": self._clock()}
                    made = connection.execute(insert(_blobs).values(**values).returning(_blobs.c.id)).scalar_one()
                    if data:
                        connection.execute(insert(_chunks).inline(), {"blob_id": made, "seq": 0, "data": data})
                    return Blob(int(made), sha256, len(data))
            except IntegrityError:
                continue  # equal content was stored a moment ago: take that

    def put_file(self, path: Path) -> Blob:
        with path.open("rb") as file:
            return self.put(iter(lambda: file.read(CHUNK), b""))

    def writer(self) -> Writer:
        """A new blob, written piece by piece and dropped unless it is finished."""
        return Writer(self._engine, self._clock, self.begin(), 0, hashlib.sha256())

    def begin(self) -> int:
        """Id of a new, empty, unfinished blob, to `append` to later; referred to by a row, it waits for ever."""
        with transaction(self._engine) as connection:
            made = connection.execute(insert(_blobs).values(size=0, created_at=self._clock()).returning(_blobs.c.id))
            return int(made.scalar_one())

    def append(self, blob_id: int) -> Writer:
        """Go on with an unfinished blob where it ends, also after a restart.  Raises BlobGone."""
        return Writer(self._engine, self._clock, blob_id, self.received(blob_id), None)

    def received(self, blob_id: int) -> int:
        """Bytes of an unfinished (or finished) blob that are safely stored.  Raises BlobGone."""
        with glance(self._engine) as connection:
            size = connection.scalar(select(_blobs.c.size).where(_blobs.c.id == blob_id))
        if size is None:
            raise BlobGone(f"there is no blob {blob_id}")
        return int(size)

    def get(self, blob_id: int) -> Blob:
        """Raises BlobGone when there is no such finished blob."""
        with glance(self._engine) as connection:
            row = connection.execute(select(_blobs).where(_blobs.c.id == blob_id, _blobs.c.sha256.is_not(None))).first()
        if row is None:
            raise BlobGone(f"there is no blob {blob_id}")
        return Blob(row.id, row.sha256, row.size)

    def open_range(self, blob_id: int, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes start .. end (excluded), in pieces of at most a MiB.  Raises BlobGone at any piece."""
        size = self.received(blob_id)
        at, end = max(0, start), size if end is None else min(end, size)
        while at < end:
            seq, offset = divmod(at, CHUNK)
            piece = self._chunk(blob_id, seq)[offset : offset + end - at]
            if not piece:
                raise BlobGone(f"blob {blob_id} ends early, at byte {at}")
            yield piece
            at += len(piece)

    def read(self, blob_id: int) -> bytes:
        """All of it at once: for small blobs."""
        return b"".join(self.open_range(blob_id))

    def write_to(self, blob_id: int, path: Path) -> None:
        """Copy to a file, which appears whole and checked or not at all.  Raises BlobGone."""
        blob = self.get(blob_id)
        sha = hashlib.sha256()
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                for piece in self.open_range(blob_id):
                    sha.update(piece)
                    file.write(piece)
            if sha.hexdigest() != blob.sha256:
                raise BlobGone(f"blob {blob_id} is damaged: its SHA-256 is {sha.hexdigest()}, not {blob.sha256}")
            Path(name).replace(path)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(name).unlink()
            raise

    def collect(self, older_than: timedelta = ORPHAN_AGE) -> int:
        """Delete blobs that no row refers to and that nobody wrote or found again for `older_than`.

        Aborted uploads are among them.  timedelta(0) deletes at once, even what is being written: for quiet moments.
        Returns how many went.
        """
        before = self._clock() - older_than
        orphan = [_blobs.c.created_at <= before, *(~exists().where(column == _blobs.c.id) for column in _references())]
        with glance(self._engine) as connection:
            found = connection.scalars(select(_blobs.c.id).where(*orphan)).all()
        return sum(self._drop_orphan(blob_id, orphan) for blob_id in found)

    def _drop_orphan(self, blob_id: int, orphan: Sequence[Any]) -> bool:
        with transaction(self._engine) as connection:
            # without its hash nobody finds it as equal content any more; asked again, under the lock
            hidden = update(_blobs).where(_blobs.c.id == blob_id, *orphan).values(sha256=None)
            if connection.execute(hidden).rowcount == 0:
                return False
        with suppress(IntegrityError):  # a row came to refer to it after all
            _drop(self._engine, blob_id)
            return True
        return False

    def _chunk(self, blob_id: int, seq: int) -> bytes:
        with glance(self._engine) as connection:
            data = connection.scalar(select(_chunks.c.data).where(_chunks.c.blob_id == blob_id, _chunks.c.seq == seq))
        return b"" if data is None else bytes(data)


class Writer:
    """Appends to one unfinished blob.  As a context manager it drops a new blob that was not finished.

    No transaction is open between writes.  `received` counts what was written, stored or still in memory.
    """

    def __init__(self, engine: Engine, clock: Clock, blob_id: int, size: int, sha: Any | None) -> None:
        self.blob_id = blob_id
        self.received = size
        self._engine = engine
        self._clock = clock
        self._sha = sha  # None: resumed, so the hash is taken from the stored bytes at the end
        self._new = sha is not None
        self._stored = size
        self._buffer = bytearray()
        self._limit = ROWS_PER_COMMIT[engine.dialect.name] * CHUNK
        self._done = False

    def write(self, piece: bytes | bytearray) -> None:
        if self._sha is not None:
            self._sha.update(piece)
        self.received += len(piece)
        view = memoryview(piece)
        while view:
            taken = view[: self._limit - len(self._buffer)]
            self._buffer += taken
            view = view[len(taken) :]
            if len(self._buffer) >= self._limit:
                self.flush()

    def flush(self) -> int:
        """Store what is in memory.  Returns the offset from which an upload can be resumed.  Raises BlobConflict."""
        if self._buffer:
            with transaction(self._engine) as connection:
                self._append(connection)
            self._stored += len(self._buffer)
            self._buffer.clear()
        return self._stored

    def finish(self) -> Blob:
        """Seal the blob.  If equal content was there already, this one is dropped and that one is given."""
        self.flush()
        sha256 = self._sha.hexdigest() if self._sha is not None else self._rehash()
        blob = None
        while blob is None:
            blob = self._found(sha256) or self._sealed(sha256)
        self._done = True
        if blob.id != self.blob_id:
            with suppress(
                IntegrityError
            ):  # an upload still refers to it: it is collected once that refers to the other
                _drop(self._engine, self.blob_id)
        return blob

    def abort(self) -> None:
        """Drop the unfinished blob and everything written to it."""
        self._done = True
        self._buffer.clear()
        _drop(self._engine, self.blob_id)

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._done:
            return
        if self._new:
            with suppress(Exception):  # the first error is the one to tell; the collection takes the rest
                self.abort()
        elif kind is None or not issubclass(kind, BlobConflict | BlobGone):
            self.flush()  # a resumed upload keeps every byte that came

    def _append(self, connection: Connection) -> None:
        mine = (_blobs.c.id == self.blob_id, _blobs.c.sha256.is_(None), _blobs.c.size == self._stored)
        size = self._stored + len(self._buffer)
        if connection.execute(update(_blobs).where(*mine).values(size=size, created_at=self._clock())).rowcount == 0:
            raise BlobConflict(f"blob {self.blob_id} does not end at byte {self._stored} any more; ask for its offset")
        seq, filled = divmod(self._stored, CHUNK)
        data = self._buffer
        if filled:  # the last row is not full yet: write it anew
            last = (_chunks.c.blob_id == self.blob_id, _chunks.c.seq == seq)
            data = bytearray(connection.execute(select(_chunks.c.data).where(*last)).scalar_one()) + data
            connection.execute(delete(_chunks).where(*last))
        with memoryview(data) as view:
            rows = [
                {"blob_id": self.blob_id, "seq": seq + i, "data": bytes(view[at : at + CHUNK])}
                for i, at in enumerate(range(0, len(data), CHUNK))
            ]
        connection.execute(insert(_chunks).inline(), rows)

    def _rehash(self) -> str:
        sha = hashlib.sha256()
        for piece in Storage(self._engine).open_range(self.blob_id):
            sha.update(piece)
        return sha.hexdigest()

    def _found(self, sha256: str) -> Blob | None:
        with transaction(self._engine) as connection:
            return _touched(connection, sha256, self._clock())

    def _sealed(self, sha256: str) -> Blob | None:
        mine = (_blobs.c.id == self.blob_id, _blobs.c.sha256.is_(None), _blobs.c.size == self._stored)
        try:
            with transaction(self._engine) as connection:
                sealed = update(_blobs).where(*mine).values(sha256=sha256, created_at=self._clock())
                if connection.execute(sealed).rowcount == 0:
                    raise BlobGone(f"blob {self.blob_id} was changed or collected before it was finished")
        except IntegrityError:
            return None  # equal content was sealed a moment ago: take that
        return Blob(self.blob_id, sha256, self._stored)


def small_blob(dialect: str, data: bytes, now: datetime) -> tuple[str, list[tuple[Executable, dict[str, Any]]]]:
    """SHA-256 of content, and the statements that store it, or touch it where it is stored already.

    For a transaction that goes on to refer to it: nothing has to be looked up in between.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    kept, filled = _KEEP[dialect]
    return sha256, [
        (kept, {"sha256": sha256, "size": len(data), "created_at": now}),
        (filled, {"the_sha256": sha256, "the_data": data}),
    ]


def _keep(inserts: Any) -> tuple[Executable, Executable]:
    kept = inserts(_blobs).inline()
    kept = kept.on_conflict_do_update(index_elements=[_blobs.c.sha256], set_={"created_at": kept.excluded.created_at})
    found = select(_blobs.c.id, literal(0), bindparam("the_data", type_=LargeBinary)).where(
        _blobs.c.sha256 == bindparam("the_sha256"), _blobs.c.size > 0
    )
    filled = inserts(_chunks).inline().from_select(["blob_id", "seq", "data"], found).on_conflict_do_nothing()
    return kept, filled


_KEEP = {"sqlite": _keep(sqlite.insert), "postgresql": _keep(postgresql.insert)}


def _touched(connection: Connection, sha256: str, now: datetime) -> Blob | None:
    """The finished blob of this content, touched, so that the collection leaves it alone until a reference is written."""
    touched = update(_blobs).where(_blobs.c.sha256 == sha256).values(created_at=now)
    row = connection.execute(touched.returning(_blobs.c.id, _blobs.c.size)).first()
    return None if row is None else Blob(row.id, sha256, row.size)


def _drop(engine: Engine, blob_id: int) -> None:
    """Delete a blob that has no hash, in small steps: one big delete would hold SQLite's lock for seconds."""
    step = 4 * ROWS_PER_COMMIT[engine.dialect.name]
    unfinished = select(_blobs.c.id).where(_blobs.c.id == blob_id, _blobs.c.sha256.is_(None))
    while True:
        with transaction(engine) as connection:
            some = select(_chunks.c.seq).where(_chunks.c.blob_id == blob_id).limit(step)
            where = (_chunks.c.blob_id.in_(unfinished), _chunks.c.seq.in_(some))
            if connection.execute(delete(_chunks).where(_chunks.c.blob_id == blob_id, *where)).rowcount < step:
                connection.execute(delete(_blobs).where(_blobs.c.id == blob_id, _blobs.c.sha256.is_(None)))
                return


def _references() -> list[Any]:
    """Every column that refers to a blob, found in the schema, so that a new table cannot be forgotten."""
    return [
        key.parent
        for owner in Base.metadata.tables.values()
        if owner is not _chunks
        for key in owner.foreign_keys
        if key.column.table is _blobs
    ]
