"""Samples in use: drawn from a delivered generator, as rows, csv, or pictures."""

from __future__ import annotations

import csv
import io
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.errors import DataError
from assay.generation.draw import ConditionError, draw, records

if TYPE_CHECKING:
    from assay.model.predict import Model

MAX_N = 1_000_000
SHEET_SIDE = 32  # pixels a picture takes on a sheet, at least
GAP = 2
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class Samples:
    """What was drawn.  columns: by name, float64 (NaN is missing) or text ("" is missing); of pictures the condition.
    images: uint8 (n, S, S, 3), None for rows."""

    seed: int
    columns: Mapping[str, np.ndarray]
    images: np.ndarray | None
    spec: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.images) if self.images is not None else len(next(iter(self.columns.values())))

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a sample; None is missing.  Of pictures only the condition."""
        if self.images is not None:
            return [{k: v[i] for k, v in self.columns.items()} for i in range(len(self))]
        return list(records(self.columns, self.spec["columns"]))

    def csv(self) -> str:
        """Header and rows.  Raises DataError for pictures."""
        if self.images is not None:
            raise DataError("pictures are no csv; ask for image/png or application/zip", code="unsupported_format")
        out = io.StringIO(newline="")
        writer = csv.DictWriter(out, [c["name"] for c in self.spec["columns"]], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows())
        return out.getvalue()

    def sheet(self) -> bytes:
        """All pictures in one PNG, row by row.  Raises DataError for rows."""
        from PIL import Image

        images = self._pictures()
        n, size = images.shape[:2]
        scale = max(1, SHEET_SIDE // size)
        across = max(1, math.ceil(math.sqrt(n)))
        side = size * scale + GAP
        sheet = np.full((max(1, math.ceil(n / across)) * side + GAP, across * side + GAP, 3), 255, np.uint8)
        for i in range(n):
            top, left = (i // across) * side + GAP, (i % across) * side + GAP
            sheet[top : top + size * scale, left : left + size * scale] = images[i].repeat(scale, 0).repeat(scale, 1)
        return _png(Image.fromarray(sheet))

    def zip(self) -> bytes:
        """One PNG a picture, in a folder by its condition if there is one.  Raises DataError for rows."""
        from PIL import Image

        images = self._pictures()
        labels = next(iter(self.columns.values()), None)
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
            for i in range(len(images)):
                folder = "" if labels is None else _safe(str(labels[i])) + "/"
                entry = zipfile.ZipInfo(f"{folder}{i:06d}.png", _EPOCH)
                archive.writestr(entry, _png(Image.fromarray(images[i])))
        return out.getvalue()

    def png(self, i: int) -> bytes:
        """One picture."""
        from PIL import Image

        return _png(Image.fromarray(self._pictures()[i]))

    def _pictures(self) -> np.ndarray:
        if self.images is None:
            raise DataError("rows are no pictures; ask for application/json or text/csv", code="unsupported_format")
        return self.images


def generate(model: Model, n: int, seed: int, condition: Mapping[str, Any] | None) -> Samples:
    """n samples of a generator.  Raises DataError for another kind of model or a condition that cannot be met."""
    spec = model.manifest.info.get("generation")
    if spec is None:
        raise DataError(
            f"this model is made for {model.manifest.task} and draws no samples; use predict, or make a model with "
            "task.type 'generation'",
            code="validation_error",
        )
    if not 0 <= n <= MAX_N:
        raise DataError(f"n must lie between 0 and {MAX_N:,}, not {n}", code="validation_error")
    try:
        found = draw(model.raw, spec, n, seed, condition or {})
    except ConditionError as error:
        raise DataError(str(error), code="validation_error") from None
    return Samples(seed, {k: v for k, v in found.items() if k != "image" or spec["data"] == "rows"},
                   found["image"] if spec["data"] == "images" else None, spec)  # fmt: skip


def refuse_prediction(task: str) -> None:
    """Raises DataError when a generator is asked to predict."""
    if task == "generation":
        raise DataError(
            "a generator draws samples and predicts nothing; use generate (POST /v1/models/{id}/generate)",
            code="validation_error",
        )


def _png(image: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _safe(name: str) -> str:
    kept = "".join(c if c.isalnum() or c in "-_ ." else "_" for c in name).strip(" .")
    return kept or "_"
