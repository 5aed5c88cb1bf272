"""Pieces of messages are read back by protobuf's own parser as what they were written from."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import AttributeProto

from assay.model import wire

FLOATS, INTS, STRINGS = 7, 8, 9


@pytest.mark.parametrize("bits", range(0, 63, 7))
def test_whole_numbers_of_every_length_are_read_back(bits: int) -> None:
    edges = [(1 << bits) - 1, 1 << bits, (1 << bits) + 1]
    values = np.array([0, *edges, 127, 128, 2**63 - 1, *edges])
    assert list(AttributeProto.FromString(wire.packed_ints(INTS, values)).ints) == values.tolist()


def test_nothing_is_read_back_as_nothing() -> None:
    assert not AttributeProto.FromString(wire.packed_ints(INTS, np.zeros(0, np.int64))).ints
    assert not AttributeProto.FromString(wire.packed_floats(FLOATS, np.zeros(0))).floats
    assert not AttributeProto.FromString(wire.texts(STRINGS, (b"a",), np.zeros(0, np.int8))).strings


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        wire.varints(np.array([3, -1]))


def test_floats_and_texts_are_read_back() -> None:
    numbers = np.array([0.0, -1.5, np.inf, 1e-40, 3.25], np.float32)
    found = AttributeProto.FromString(
        wire.packed_floats(FLOATS, numbers) + wire.texts(STRINGS, (b"no", b"perhaps"), np.array([1, 0, 1], np.int8))
    )
    assert np.array_equal(np.array(found.floats, np.float32), numbers)
    assert list(found.strings) == [b"perhaps", b"no", b"perhaps"]


def test_pieces_join_to_one_message() -> None:
    name = AttributeProto(name="n", type=AttributeProto.INTS).SerializeToString()
    found = AttributeProto.FromString(name + wire.packed_ints(INTS, np.arange(300)))
    assert (found.name, len(found.ints), found.ints[299]) == ("n", 300, 299)
