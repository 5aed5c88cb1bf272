"""Pictures of one thing each, with what it is, how heavy it is, and where: small data for several targets of pictures."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np

from assay.data.table import Blobs, ColumnType, Table, Words
from assay.testing.shapes import _png

KINDS = ("box", "disc", "star")
NAMES = ("background", "thing")


def scenes(n: int, seed: int = 0, side: int = 64) -> tuple[list[bytes], list[str], np.ndarray, list[bytes], list[str]]:
    """PNG files; what is in each (of KINDS); its weight; the masks (0 background, 1 thing); and a word that hints at the
    kind."""
    from PIL import Image, ImageDraw

    rng = np.random.default_rng(seed)
    files, kinds, masks, hints = [], [], [], []
    weights = np.zeros(n)
    for i in range(n):
        kind = int(rng.integers(len(KINDS)))
        picture = Image.fromarray(rng.integers(0, 110, (side, side, 3)).astype(np.uint8))
        mask = Image.new("L", (side, side), 0)
        size = int(rng.integers(side // 3, side // 2))
        x, y = (int(v) for v in rng.integers(0, side - size, 2))
        colour = tuple(int(v) for v in rng.integers(120, 256, 3))
        for pen, fill in ((ImageDraw.Draw(picture), colour), (ImageDraw.Draw(mask), 1)):
            if kind == 0:
                pen.rectangle([x, y, x + size - 1, y + size - 1], fill=fill)
            elif kind == 1:
                pen.ellipse([x, y, x + size - 1, y + size - 1], fill=fill)
            else:
                turns = np.arange(10) * np.pi / 5
                reach = np.where(np.arange(10) % 2, 0.2, 0.5) * size
                points = np.column_stack([x + size / 2 + reach * np.sin(turns), y + size / 2 - reach * np.cos(turns)])
                pen.polygon([(float(a), float(b)) for a, b in points], fill=fill)
        files.append(_png(picture))
        masks.append(_png(mask))
        kinds.append(KINDS[kind])
        weights[i] = size**2 / side**2 * 10 + 0.1 * rng.normal()
        hints.append(("flat", "round", "sharp")[kind] if rng.random() < 0.5 else "unknown")
    return files, kinds, weights, masks, hints


def scenes_table(n: int, seed: int = 0, side: int = 64) -> Table:
    """The table that an archive of such pictures becomes; every fifth label and every fourth mask is missing."""
    files, kinds, weights, masks, hints = scenes(n, seed, side)
    labels = [None if i % 5 == 4 else k for i, k in enumerate(kinds)]
    seen = [None if i % 4 == 3 else m for i, m in enumerate(masks)]
    return Table(
        {
            "image": Blobs.of(files),
            "path": Words.of([f"{i:04}.png" for i in range(n)]),
            "mask": Blobs.of(seen),
            "mask_classes": Words.of([json.dumps(list(NAMES))] * n),
            "label": Words.of(labels),
            "weight": weights,
            "hint": Words.of(hints),
        },
        {
            "image": ColumnType.IMAGE, "path": ColumnType.ID, "mask": ColumnType.IMAGE,
            "mask_classes": ColumnType.CONSTANT, "label": ColumnType.CATEGORY, "weight": ColumnType.NUMBER,
            "hint": ColumnType.CATEGORY,
        },
    )  # fmt: skip


def scenes_zip(path: Path, n: int, seed: int = 0, side: int = 64) -> Path:
    """`images/<kind>/0001.png`, `masks/<kind>/0001.png` and a csv with side information."""
    files, kinds, weights, masks, hints = scenes(n, seed, side)
    rows = ["file,weight,hint"]
    with zipfile.ZipFile(path, "w") as archive:
        for i, kind in enumerate(kinds):
            archive.writestr(f"images/{kind}/{i:04}.png", files[i])
            archive.writestr(f"masks/{kind}/{i:04}.png", masks[i])
            rows.append(f"{i:04}.png,{weights[i]:.3f},{hints[i]}")
        archive.writestr("side.csv", "\n".join(rows))
        archive.writestr("classes.txt", "\n".join(NAMES))
    return path
