"""Decoded pictures, shared by the processes of a job."""

from __future__ import annotations

from assay.data.front_image import Decoded, ImageFront, pixels_of
from assay.data.shelf import digest, shelved
from assay.data.table import Blobs


def decoded(front: ImageFront, files: Blobs) -> Decoded:
    """The files with their pixels, zeros where a file is no readable picture; from the shelf where there is one."""
    keys = [digest(data) for data in files]
    kind = f"pixels {front.size} {front.fit}"
    return Decoded(files.array, shelved(kind, keys, lambda rows: pixels_of(front, [files[i] for i in rows])), front)
