"""Pictures that somebody sends for an answer: one file, several, or a zip of them."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from assay.data.images.layout import is_picture
from assay.data.images.members import zip_members
from assay.data.loaded import ReadLimits
from assay.errors import DataError

_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"P5", b"P6", b"P4")


@dataclass(frozen=True)
class Sent:
    """Files in order, with their names where they have one."""

    files: tuple[bytes, ...]
    names: tuple[str | None, ...]


def looks_like_pictures(data: bytes) -> bool:
    """Whether bytes begin as a picture file or a zip does."""
    webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    return webp or data.startswith(_MAGIC) or data.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def sent(data: bytes | Path | str | Sequence[Any]) -> Sent:
    """From one file (bytes or a path), a zip of files (in the order of its members), or a list of files.

    Raises DataError for a path that is not there, a damaged zip, or one without pictures.
    """
    if isinstance(data, bytes):
        return _zipped(data) if data[:2] == b"PK" else Sent((data,), (None,))
    if isinstance(data, (str, Path)):
        path = Path(data)
        if not path.is_file():
            raise DataError(f"there is no file {path}", file=str(path))
        content = path.read_bytes()
        return _zipped(content) if content[:2] == b"PK" else Sent((content,), (path.name,))
    parts = [sent(cast(bytes, part)) for part in data]
    return Sent(tuple(f for p in parts for f in p.files), tuple(n for p in parts for n in p.names))


def _zipped(data: bytes) -> Sent:
    file = "the zip file"
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = zip_members(archive, len(data), ReadLimits(), file)
            names = [n for n in members.sizes if is_picture(n)]
            if not names:
                raise DataError(f"{file} holds no pictures; expected files such as name.png or name.jpg")
            return Sent(tuple(members.read(n) for n in names), tuple(names))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        raise DataError(f"{file} is damaged or uses a method that is not read ({error})") from error
