"""Pictures as pixels of one size."""

from __future__ import annotations

import numpy as np
import pytest

from assay.data.front_image import Decoded, ImageFront, decode, inner_size
from assay.data.fronts import from_json
from assay.data.table import Blobs
from tests.data.images.pictures import encoded, picture, pixels


def test_files_become_squares_and_what_is_none_zeros() -> None:
    front = ImageFront(16)
    column = Blobs.of([picture(1, 16, 16), None, b"nothing", picture(2, 40, 20, "JPEG")])
    out = front.encode(column)
    assert (out.shape, out.dtype) == ((4, 16, 16, 3), np.uint8)
    assert (out[0] == pixels(1, 16, 16)).all() and not out[1].any() and not out[2].any() and out[3].any()
    assert decode(front, column)[1] == [2]


def test_a_letterbox_keeps_the_shape_and_leaves_grey_beside() -> None:
    white = np.full((10, 20, 3), 255, np.uint8)
    out = ImageFront(32, "letterbox").encode(Blobs.of([encoded(white)]))[0]
    assert inner_size(20, 10, 32) == (32, 16)
    assert (out[:16] == 255).all() and (out[16:] == 114).all()


def test_transparent_pictures_lie_on_white() -> None:
    clear = np.zeros((8, 8, 4), np.uint8)
    assert (ImageFront(8).encode(Blobs.of([encoded(clear)])) == 255).all()


def test_decoded_files_are_not_decoded_again_and_follow_their_rows() -> None:
    front = ImageFront(8)
    column = Decoded.by(front, Blobs.of([picture(i, 8, 8) for i in range(4)]))
    taken = column.take(np.array([2, 0]))
    assert front.encode(taken) is taken.pixels
    assert (taken.pixels[0] == pixels(2, 8, 8)).all() and taken[1] == picture(0, 8, 8)
    assert ImageFront(4).encode(taken).shape == (2, 4, 4, 3)


def test_it_survives_the_manifest() -> None:
    front = ImageFront(24, "letterbox")
    assert from_json(front.to_json()) == front
    with pytest.raises(ValueError, match="size and a fit"):
        ImageFront(24, "crop")
