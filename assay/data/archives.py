"""One table out of a gzip or zip file, streamed, with limits that hold before the disk or the memory is full."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path, PurePosixPath

from assay.data.loaded import ReadLimits
from assay.errors import DataError

CHUNK = 1 << 20
RATIO_FROM = 64 << 20  # small files of one repeated line may well pack 1000 to 1
_NOISE = ("__MACOSX/",)
_NOISE_NAMES = (".DS_Store", "Thumbs.db", "desktop.ini")


def unpack_gzip(source: Path, target: Path, limits: ReadLimits, file: str) -> None:
    """Write the unpacked bytes of a gzip file (all its members) to target."""

    def chunks() -> Generator[bytes, None, None]:
        with source.open("rb") as f:
            engine = zlib.decompressobj(wbits=31)
            data = f.read(CHUNK)
            while data:
                piece = engine.decompress(data, CHUNK)
                if piece:
                    yield piece
                if engine.eof:
                    data = engine.unused_data.lstrip(b"\0") or f.read(CHUNK)
                    if data:
                        engine = zlib.decompressobj(wbits=31)
                else:
                    data = engine.unconsumed_tail or f.read(CHUNK)
            if not engine.eof:
                raise DataError(f"{file}: the gzip file is cut off; send it again", file=file)

    try:
        _write(chunks(), target, source.stat().st_size, limits, file)
    except zlib.error as e:
        raise DataError(f"{file}: the gzip file is damaged ({e})", file=file) from e


def unpack_zip(source: Path, target: Path, limits: ReadLimits, file: str) -> str:
    """Write the one table inside a zip file to target and return its name.  Member names are never used as paths."""
    try:
        with zipfile.ZipFile(source) as archive:
            member = _only_member(archive, file)
            size = max(member.compress_size, 1)

            def chunks() -> Generator[bytes, None, None]:
                with archive.open(member) as f:
                    read: Callable[[int], bytes] = f.read
                    while piece := read(CHUNK):
                        yield piece

            _write(chunks(), target, size, limits, file)
            return member.filename
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError) as e:
        raise DataError(f"{file}: the zip file is damaged or uses a method that is not read ({e})", file=file) from e


def check_workbook(source: Path, limits: ReadLimits, file: str) -> None:
    """Refuse a workbook (a zip of XML) that unpacks past the limits, by unpacking it to nowhere."""
    try:
        with zipfile.ZipFile(source) as archive:
            total = 0
            for member in archive.infolist():
                with archive.open(member) as f:
                    while piece := f.read(CHUNK):
                        total += len(piece)
                        _check(total, source.stat().st_size, limits, file)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, RuntimeError) as e:
        raise DataError(f"{file}: the workbook is damaged or locked with a password ({e})", file=file) from e


def _only_member(archive: zipfile.ZipFile, file: str) -> zipfile.ZipInfo:
    infos = archive.infolist()
    for info in infos:
        name = info.filename.replace("\\", "/")
        if name.startswith("/") or ".." in PurePosixPath(name).parts or (len(name) > 1 and name[1] == ":"):
            raise DataError(f"{file}: the member name {info.filename!r} points outside the archive", file=file)
    members = [
        i for i in infos
        if not i.is_dir() and not i.filename.startswith(_NOISE) and PurePosixPath(i.filename).name not in _NOISE_NAMES
    ]  # fmt: skip
    if len(members) != 1:
        shown = ", ".join(repr(i.filename[:80]) for i in members[:5]) or "nothing"
        raise DataError(
            f"{file}: one table is expected inside the zip file, it holds {len(members)}: {shown}", file=file
        )
    if members[0].flag_bits & 1:
        raise DataError(f"{file}: the zip file is locked with a password", file=file)
    return members[0]


def _write(chunks: Generator[bytes, None, None], target: Path, packed: int, limits: ReadLimits, file: str) -> None:
    total = 0
    with closing(chunks) as pieces, target.open("wb") as out:
        for piece in pieces:
            total += len(piece)
            _check(total, packed, limits, file)
            out.write(piece)


def _check(total: int, packed: int, limits: ReadLimits, file: str) -> None:
    if total > limits.max_bytes_unpacked:
        raise DataError(
            f"{file}: unpacks to more than {limits.max_bytes_unpacked} bytes, the most that is read",
            file=file,
            code="dataset_too_large",
        )
    if total > RATIO_FROM and total > limits.max_ratio * max(packed, 1):
        raise DataError(
            f"{file}: {packed} bytes unpack to more than {limits.max_ratio:g} times as many, which no table does; "
            f"send it unpacked",
            file=file,
            code="dataset_too_large",
        )
