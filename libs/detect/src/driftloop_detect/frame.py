"""State as bytes: named little-endian arrays in a frame with version, spec digest and checksum. No pickle.

DLDT | layout u16 | arrays u16 | spec digest 32 | { name length u8, name, kind u8, size u32, data }* | CRC32 u32
"""

import struct
import zlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from driftloop_detect.errors import SnapshotRejected

MAGIC: Final = b"DLDT"
LAYOUT: Final = 1
_HEAD: Final = struct.Struct("<4sHH32s")
_CRC: Final = struct.Struct("<I")
_KINDS: Final[Mapping[bytes, np.dtype[Any]]] = {b"d": np.dtype("<f8"), b"q": np.dtype("<i8"), b"B": np.dtype("u1")}

Arrays = Mapping[str, NDArray[np.generic]]


def pack(digest: bytes, arrays: Arrays) -> bytes:
    """One-dimensional arrays of float64, int64 or bytes, in a frame for the spec with this digest."""
    parts = [_HEAD.pack(MAGIC, LAYOUT, len(arrays), digest)]
    for name, array in arrays.items():
        kind = next(kind for kind, dtype in _KINDS.items() if dtype == array.dtype)
        label = name.encode()
        parts.append(struct.pack("<B", len(label)) + label + kind + struct.pack("<I", array.size))
        parts.append(array.astype(_KINDS[kind], copy=False).tobytes())
    body = b"".join(parts)
    return body + _CRC.pack(zlib.crc32(body))


def unpack(digest: bytes, blob: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of a frame that is whole and was made for the spec with this digest. Raises SnapshotRejected."""
    if len(blob) < _HEAD.size + _CRC.size:
        raise SnapshotRejected(f"{len(blob)} bytes are too few")
    magic, layout, count, made_for = _HEAD.unpack_from(blob)
    if magic != MAGIC:
        raise SnapshotRejected(f"begins with {magic!r}, not {MAGIC!r}")
    if _CRC.unpack_from(blob, len(blob) - _CRC.size)[0] != zlib.crc32(blob[: -_CRC.size]):
        raise SnapshotRejected("its checksum is wrong: bytes were changed or are missing")
    if layout != LAYOUT:
        raise SnapshotRejected(f"has layout {layout}, this code reads {LAYOUT}")
    if made_for != digest:
        raise SnapshotRejected("was made for another spec: other parameters, or another version of river")
    try:
        return _arrays(blob[: -_CRC.size], count)
    except (struct.error, ValueError, KeyError, IndexError) as error:
        raise SnapshotRejected(f"its arrays are not what they say: {error}") from error


def _arrays(blob: bytes, count: int) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    at = _HEAD.size
    for _ in range(count):
        name_end = at + 1 + blob[at]
        name = blob[at + 1 : name_end].decode()
        dtype = _KINDS[blob[name_end : name_end + 1]]
        size = struct.unpack_from("<I", blob, name_end + 1)[0]
        at = name_end + 5 + size * dtype.itemsize
        arrays[name] = np.frombuffer(blob, dtype, size, name_end + 5).copy()
    return arrays
