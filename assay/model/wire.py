"""Large protobuf messages written piece by piece.

A forest has millions of numbers, and building its messages as objects, nesting them (which copies) and serialising them
costs seconds of a minute.  The wire format needs none of it: a message is its fields in any order, so serialised pieces
join by concatenation, and repeated numbers may be packed (https://protobuf.dev/programming-guides/encoding/).
"""

from __future__ import annotations

import numpy as np

_DELIMITED = 2  # the wire type of bytes, messages and packed numbers


def varints(values: np.ndarray) -> bytes:
    """Non-negative whole numbers, seven bits a byte, the lowest first.  values: (n,) of any integer type."""
    left = np.asarray(values, dtype=np.int64)
    if left.size and left.min() < 0:
        raise ValueError("a negative number has no short form")
    size = np.ones(len(left), dtype=np.int64)
    for bits in range(7, 63, 7):
        longer = left >= 1 << bits
        if not longer.any():
            break
        size += longer
    ends = np.cumsum(size)
    out = np.empty(int(ends[-1]) if len(ends) else 0, dtype=np.uint8)
    at = ends - size
    while len(left):
        more = size > 1
        out[at] = (left & 0x7F) | np.where(more, 0x80, 0)
        left, at, size = left[more] >> 7, at[more] + 1, size[more] - 1
    return out.tobytes()


def delimited(field: int, payload: bytes) -> bytes:
    """A field that holds bytes, text, a message or packed numbers."""
    return _varint(field << 3 | _DELIMITED) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    """One number; a graph may have ten thousand nodes with a dozen fields each, too many for array calls."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def packed_floats(field: int, values: np.ndarray) -> bytes:
    """A repeated float field."""
    return delimited(field, np.asarray(values, dtype="<f4").tobytes())


def packed_ints(field: int, values: np.ndarray) -> bytes:
    """A repeated field of non-negative whole numbers."""
    return delimited(field, varints(values))


def texts(field: int, words: tuple[bytes, ...], codes: np.ndarray) -> bytes:
    """A repeated text field: word number `codes[i]` at position i."""
    return b"".join(np.array([delimited(field, w) for w in words], dtype=object)[codes].tolist())
