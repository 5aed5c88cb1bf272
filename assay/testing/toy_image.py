"""Toy pictures: bright shapes on noise, of two or three kinds."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from assay.data.front_image import Decoded, ImageFront
from assay.data.table import Blobs, ColumnType, Table
from assay.families import Split, Target
from assay.testing.toy import Toy, constant_prediction, prediction_loss, register

SIDE = 12
N_TRAIN, N_VALID = 48, 36


def toy_pixels(n: int, n_classes: int, seed: int = 0, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (n, side, side, 3) and int64 (n,): discs, bars that lie and bars that stand."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    x = rng.integers(0, 70, (n, side, side, 3)).astype(np.uint8)
    rows, columns = np.mgrid[:side, :side]
    for i, code in enumerate(y):
        r, c = rng.integers(side // 3, 2 * side // 3 + 1, 2)
        inside = (
            (rows - r) ** 2 + (columns - c) ** 2 < (side / 3.5) ** 2,
            np.abs(rows - r) < side / 10,
            np.abs(columns - c) < side / 10,
        )[code]
        x[i][inside] = rng.integers(150, 256, 3)
    return x, y.astype(np.int64)


def toy_files(n: int, n_classes: int, seed: int = 0, side: int = SIDE) -> tuple[list[bytes], np.ndarray]:
    """The same as PNG files."""
    from PIL import Image

    x, y = toy_pixels(n, n_classes, seed, side)
    files = []
    for pixels in x:
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "PNG")
        files.append(out.getvalue())
    return files, y


def toy_pictures(n: int, n_classes: int, seed: int = 0) -> tuple[Table, np.ndarray]:
    """A decoded column `image`, and the classes."""
    files, y = toy_files(n, n_classes, seed)
    return Table({"image": Decoded.by(ImageFront(SIDE), Blobs.of(files))}, {"image": ColumnType.IMAGE}), y


def picture_split(table: Table, y: np.ndarray, target: Target, wish: Any) -> Split:
    """The first rows train, the rest validate."""
    train, valid = np.arange(N_TRAIN), np.arange(N_TRAIN, len(y))
    preparation, x = wish.fit(table.take(train), y[train], target, seed=0)
    return Split(x, y[train], preparation.transform(table.take(valid)), y[valid], target, groups=preparation.groups)


def _toy(n_classes: int) -> Callable[[], Toy]:
    made = cache(lambda: toy_pictures(N_TRAIN + N_VALID, n_classes))
    kind = "binary" if n_classes == 2 else "multiclass"
    target = Target(kind, n_classes, "log_loss")
    return lambda: Toy(
        f"{kind} pictures",
        lambda wish: picture_split(*made(), target, wish),
        prediction_loss,
        constant_prediction,
    )


register("image_classification", _toy(3))
