"""What is computed of rows once and needed by several processes of a machine: decoded pictures, features of them.

Trials of a job run in processes that may be killed, and each would read the same thousands of files again.  With a shelf
the rows are made in blocks, every block a file: whoever comes to a missing one first makes it, so that processes that
need the same at the same time share the work.  Without one (a library user has one process) rows are simply made.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from assay import __version__

BLOCK = 64  # rows of a file
KEPT_BYTES = 4 << 30  # the oldest files are removed past this, when a shelf is opened
_folder: Path | None = None


def use(folder: Path | None) -> None:
    """The folder that this process shares with others from now on; None for none."""
    global _folder
    _folder = folder
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        _trim(folder)


def shelved(kind: str, keys: Sequence[bytes], make: Callable[[Sequence[int]], np.ndarray]) -> np.ndarray:
    """(n, ...): what `make` answers for all rows, read where another process has made it.

    kind: what is made, with everything it depends on besides a row's content; keys: a digest of every row's content.
    make(rows): for some of the rows; any may be asked for in any order, and each must not depend on the others.
    """
    n = len(keys)
    if _folder is None or n < BLOCK:
        return make(range(n))
    starts = range(0, n, BLOCK)
    # from another place in every process, so that they meet late
    order = [int(i) for i in np.random.default_rng(os.getpid()).permutation(len(starts))]
    out: np.ndarray | None = None
    later: list[int] = []
    for turn in (order, later):
        for i in list(turn):
            rows = range(starts[i], min(starts[i] + BLOCK, n))
            path = _folder / (_name(kind, keys[rows.start : rows.stop]) + ".npy")
            part = _read(path, len(rows))
            if part is None:
                if turn is order and not _claimed(path):
                    later.append(i)  # somebody makes it, or died making it: then it is made here after all
                    continue
                part = make(rows)
                _write(path, part)
            if out is None:
                out = np.empty((n, *part.shape[1:]), part.dtype)
            out[rows.start : rows.stop] = part
    assert out is not None
    return out


def digest(data: bytes | None) -> bytes:
    """Of a row's content; of a missing one too."""
    return b"" if data is None else hashlib.blake2b(data, digest_size=16).digest()


def _name(kind: str, keys: Sequence[bytes]) -> str:
    told = hashlib.blake2b(f"{__version__} {kind}".encode(), digest_size=16)
    for key in keys:
        told.update(len(key).to_bytes(1, "little") + key)
    return told.hexdigest()


def _read(path: Path, n: int) -> np.ndarray | None:
    try:
        found: np.ndarray = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if len(found) == n else None


def _claimed(path: Path) -> bool:
    try:
        os.close(os.open(path.with_suffix(".busy"), os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    except OSError:
        pass  # no room to share: make it for oneself
    return True


def _write(path: Path, part: np.ndarray) -> None:
    """Whole or not at all; a full disk costs the sharing alone."""
    try:
        handle, made = tempfile.mkstemp(dir=path.parent, prefix=".part-")
        try:
            with os.fdopen(handle, "wb") as file:
                np.save(file, part, allow_pickle=False)
            os.replace(made, path)
        finally:
            Path(made).unlink(missing_ok=True)
        path.with_suffix(".busy").unlink(missing_ok=True)
    except OSError:
        return


def _trim(folder: Path) -> None:
    found: list[tuple[float, int, Path]] = []
    for file in folder.iterdir():
        try:
            facts = file.stat()
        except FileNotFoundError:
            continue
        found.append((facts.st_mtime, facts.st_size, file))
    total = sum(size for _, size, _ in found)
    for _, size, file in sorted(found):
        if total <= KEPT_BYTES:
            return
        total -= size
        file.unlink(missing_ok=True)
