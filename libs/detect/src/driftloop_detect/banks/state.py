"""Whether the arrays of a frame are a bank's state."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from driftloop_detect.errors import SnapshotRejected


def check(
    arrays: Mapping[str, NDArray[Any]], kinds: Mapping[str, type], sizes: Mapping[str, int], streams: int, what: str
) -> None:
    """These arrays and no others are there, of these types and, where it is known, of this size. Raises SnapshotRejected.

    what: whose state it should be, for people.
    """
    if set(arrays) != set(kinds):
        raise SnapshotRejected(f"it holds {sorted(arrays)}, which is no state of {what}")
    if strange := [name for name, kind in kinds.items() if arrays[name].dtype != kind]:
        raise SnapshotRejected(f"its arrays are of other types: {strange}")
    if wrong := [name for name, size in sizes.items() if arrays[name].size != size]:
        raise SnapshotRejected(f"it is no state of {streams} streams of {what}: {wrong} have other sizes")
