"""Archives of generated pictures for tests."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def pixels(seed: int = 0, width: int = 12, height: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def picture(
    seed: int = 0, width: int = 12, height: int = 8, form: str = "PNG", mode: str = "RGB", **save: Any
) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels(seed, width, height)).convert(mode).save(out, form, **save)
    return out.getvalue()


def encoded(array: np.ndarray, form: str = "PNG", **save: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, form, **save)
    return out.getvalue()


def zipped(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def opened(data: bytes | None) -> np.ndarray:
    assert data is not None
    return np.asarray(Image.open(io.BytesIO(data)))
