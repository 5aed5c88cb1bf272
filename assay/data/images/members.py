"""The files of a zip, a tar or a folder by name, read one by one into memory.  Nothing is ever unpacked to disk.

Names are keys, not paths: one that leads elsewhere is refused before anything is read.
"""

from __future__ import annotations

import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from assay.data.archives import RATIO_FROM, unpack_gzip
from assay.data.loaded import MB, ReadLimits
from assay.errors import DataError

MAX_MEMBERS = 500_000
MAX_MEMBER_BYTES = 256 * MB  # of one picture
MAX_NOTE_BYTES = 1024 * MB  # of one file of annotations
_NOISE = ("__MACOSX",)
_NOISE_NAMES = frozenset({".ds_store", "thumbs.db", "desktop.ini", ".gitkeep", ".gitignore"})
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, NotImplementedError, EOFError, OSError, RuntimeError)


@dataclass(frozen=True, eq=False)
class Members:
    """sizes: bytes by name (with / between folders), in the archive's order.  skipped: links and the like."""

    file: str
    sizes: Mapping[str, int]
    skipped: tuple[str, ...]
    _open: Callable[[str], bytes]

    def read(self, name: str, most: int = MAX_MEMBER_BYTES) -> bytes:
        """The bytes of one member.  Raises DataError with its name when it is damaged or too large."""
        if self.sizes[name] > most:
            message = f"{self.file}: {name!r} has {self.sizes[name]:,} bytes; at most {most:,} are read"
            raise DataError(message, file=self.file, code="dataset_too_large")
        try:
            return self._open(name)
        except _DAMAGE as error:
            raise DataError(f"{self.file}: {name!r} is damaged ({error})", file=self.file) from error


def is_tar(path: Path) -> bool:
    """Whether the file is a tar, or a gzip of one."""
    import gzip

    try:
        with path.open("rb") as raw:
            head = raw.read(512)
        if head.startswith(b"\x1f\x8b"):
            with gzip.open(path) as packed:
                head = packed.read(512)
    except (OSError, EOFError, zlib.error):
        return False
    return head[257:262] == b"ustar"


@contextmanager
def opened(path: Path, workdir: Path, limits: ReadLimits, file: str) -> Iterator[Members]:
    """The members of a zip file, a tar file (gzip too) or a folder.

    workdir: where a packed tar is unpacked to a plain one (one file; its members stay inside).
    Raises DataError for names that lead outside, for locked archives, and for more than the limits allow.
    """
    try:
        if path.is_dir():
            yield _folder(path, limits, file)
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield zip_members(archive, path.stat().st_size, limits, file)
        else:
            with path.open("rb") as raw:
                packed = raw.read(2) == b"\x1f\x8b"
            if packed:
                plain = workdir / "plain.tar"
                unpack_gzip(path, plain, limits, file)
                path = plain
            with tarfile.open(path, "r:") as tar:
                yield _tar(tar, limits, file)
    except _DAMAGE as error:
        raise DataError(f"{file}: the archive is damaged or of a kind that is not read ({error})", file=file) from error


def zip_members(archive: zipfile.ZipFile, packed: int, limits: ReadLimits, file: str) -> Members:
    """The members of an open zip file of `packed` bytes.  Raises DataError as `opened` does."""
    infos = archive.infolist()
    _check_names((i.filename for i in infos), len(infos), file)
    kept = {_plain(i.filename): i for i in infos if not i.is_dir() and not _noise(i.filename)}
    locked = next((n for n, i in kept.items() if i.flag_bits & 1), None)
    if locked is not None:
        raise DataError(f"{file}: {locked!r} is locked with a password; send the archive without one", file=file)
    _check_size(sum(i.file_size for i in infos), packed, limits, file)

    def read(name: str) -> bytes:
        with archive.open(kept[name]) as member:
            return member.read(kept[name].file_size)  # zipfile checks the sum and reads no more than was announced

    return Members(file, {n: i.file_size for n, i in kept.items()}, (), read)


def _tar(tar: tarfile.TarFile, limits: ReadLimits, file: str) -> Members:
    infos = tar.getmembers()
    _check_names((i.name for i in infos), len(infos), file)
    kept = {_plain(i.name): i for i in infos if i.isreg() and not _noise(i.name)}
    links = tuple(i.name for i in infos if not i.isreg() and not i.isdir())
    _check_size(sum(i.size for i in kept.values()), 0, limits, file)

    def read(name: str) -> bytes:
        member = tar.extractfile(kept[name])
        if member is None:
            raise tarfile.ReadError("it has no content")
        data = member.read(kept[name].size)
        if len(data) != kept[name].size:
            raise tarfile.ReadError("it is cut off")
        return data

    return Members(file, {n: i.size for n, i in kept.items()}, links, read)


def _folder(path: Path, limits: ReadLimits, file: str) -> Members:
    sizes: dict[str, int] = {}
    links: list[str] = []
    for folder, _, names in os.walk(path):  # links to folders are not followed
        for name in sorted(names):
            full = Path(folder) / name
            relative = full.relative_to(path).as_posix()
            if full.is_symlink() or not full.is_file():
                links.append(relative)
            elif not _noise(relative):
                sizes[relative] = full.stat().st_size
    if len(sizes) > MAX_MEMBERS:
        raise DataError(f"{file}: more than {MAX_MEMBERS:,} files", file=file, code="dataset_too_large")
    _check_size(sum(sizes.values()), 0, limits, file)
    return Members(file, dict(sorted(sizes.items())), tuple(links), lambda name: (path / name).read_bytes())


def _plain(name: str) -> str:
    return "/".join(p for p in name.replace("\\", "/").split("/") if p not in ("", "."))


def _noise(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return not parts or parts[0] in _NOISE or parts[-1].lower() in _NOISE_NAMES or parts[-1].startswith("._")


def _check_names(names: Iterator[str], n: int, file: str) -> None:
    if n > MAX_MEMBERS:
        raise DataError(f"{file}: {n:,} members, at most {MAX_MEMBERS:,} are read", file=file, code="dataset_too_large")
    seen: set[str] = set()
    for raw in names:
        name = raw.replace("\\", "/")
        if name.startswith("/") or ".." in PurePosixPath(name).parts or (len(name) > 1 and name[1] == ":"):
            raise DataError(f"{file}: the member name {raw!r} points outside the archive", file=file)
        plain = _plain(raw)
        if plain in seen and not name.endswith("/") and not _noise(raw):
            raise DataError(f"{file}: the member name {raw!r} occurs twice", file=file)
        seen.add(plain)


def _check_size(total: int, packed: int, limits: ReadLimits, file: str) -> None:
    """packed: size of the archive; 0 where its members are not packed one by one."""
    if total > limits.max_bytes_unpacked:
        message = f"{file}: its members have {total:,} bytes; at most {limits.max_bytes_unpacked:,} are read"
        raise DataError(message, file=file, code="dataset_too_large")
    if packed and total > RATIO_FROM and total > limits.max_ratio * packed:
        message = (
            f"{file}: {packed:,} bytes unpack to {total:,}, more than {limits.max_ratio:g} times as many, which no "
            f"pictures do"
        )
        raise DataError(message, file=file, code="dataset_too_large")
