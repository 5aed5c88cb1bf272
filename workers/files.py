"""Local copies of stored content: what children read, kept by content hash, so they need no database."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from app.storage import Storage

KEPT_BYTES = 8 << 30  # least recently used copies are removed past this


def local_copy(storage: Storage, blob_id: int, sha256: str, folder: Path, suffix: str = "") -> Path:
    """A file with the blob's content; written once, atomically, however many slots ask."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{sha256}{suffix}"
    if path.exists():
        os.utime(path)
        return path
    handle, part = tempfile.mkstemp(dir=folder, prefix=".part-")
    os.close(handle)
    try:
        storage.write_to(blob_id, Path(part))
        os.replace(part, path)
    finally:
        Path(part).unlink(missing_ok=True)
    _trim(folder, keep=path)
    return path


def _trim(folder: Path, keep: Path) -> None:
    files = sorted((f for f in folder.iterdir() if f.is_file() and f != keep), key=lambda f: f.stat().st_mtime)
    total = sum(f.stat().st_size for f in files) + keep.stat().st_size
    for f in files:
        if total <= KEPT_BYTES:
            return
        total -= f.stat().st_size
        f.unlink(missing_ok=True)
