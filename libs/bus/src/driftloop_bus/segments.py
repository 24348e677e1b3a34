"""Frames in files: appended at the end, read from the front, freed once they are acked.

A frame is its length, its CRC and its bytes, so a tail that a crash tore is seen and cut off. What is acked stands in a mark
beside the files; a mark that is lost repeats frames and loses none. A second mark says how far a chunk went that was handed
out: until it is acked, the same frames are handed out again, in another life too. Whoever makes records of a chunk so makes
the same records, with the same ids.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zlib import crc32

from driftloop_bus.errors import DriftloopError

_FRAME: Final = struct.Struct("<II")
_MARK: Final = struct.Struct("<QQQ")
_BEGUN: Final = struct.Struct("<QQ")
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
# Dropping the oldest frees a whole file: an eighth of the room at most, and small enough to be freed soon once acked.
_SEGMENT_BYTES: Final = 16 * 1024 * 1024


@dataclass(slots=True)
class _Segment:
    path: Path
    number: int
    size: int = 0
    frames: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some frames of one file, in order."""

    payloads: Sequence[bytes]
    number: int
    end: int


class Segments:
    """The files of one folder, of one process at a time."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Frames of an earlier life are there. Raises DriftloopError when another process has the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._max_bytes = folder, max_bytes
        self._segment_bytes = max(1, min(_SEGMENT_BYTES, max_bytes // 8))
        self._lock = _locked(folder)
        self._mark = os.open(folder / "acked", os.O_RDWR | os.O_CREAT, 0o600)
        self._begun_mark = os.open(folder / "begun", os.O_RDWR | os.O_CREAT, 0o600)
        self.torn_bytes = 0
        self._files: deque[_Segment] = deque(self._found())
        self._read_at, self._read_frames = self._marked()
        self._begun = _got(self._begun_mark, _BEGUN) or (0, 0)
        self._writing = -1
        self._unsynced: list[int] = []
        self._begin()

    @property
    def pending(self) -> int:
        """Frames that nobody acked."""
        return sum(one.frames for one in self._files) - self._read_frames

    @property
    def size_bytes(self) -> int:
        """What the files weigh."""
        return sum(one.size for one in self._files)

    def append(self, payloads: Sequence[bytes]) -> int:
        """The frames are in the file, in one write: they survive this process. Returns how many old ones were dropped.

        Raises OSError when they can't be written; then none of them is there.
        """
        data = b"".join(_FRAME.pack(len(one), crc32(one)) + one for one in payloads)
        dropped = self._make_room(len(data))
        last = self._files[-1]
        if last.size and last.size + len(data) > self._segment_bytes:
            last = self._begin()
        self._write(last, data)
        last.size += len(data)
        last.frames += len(payloads)
        return dropped

    def to_sync(self) -> list[int]:
        """Files of ours to hand to `synced`, in another thread: then what was appended survives the machine."""
        files, self._unsynced = [*self._unsynced, os.dup(self._writing)], []
        return files

    def oldest(self, limit: int) -> Chunk:
        """Up to so many frames that nobody acked, of one file; the very same until they are acked or dropped."""
        first = self._files[0]
        number, begun_end = self._begun
        begun = begun_end if number == first.number and self._read_at < begun_end <= first.size else 0
        with first.path.open("rb") as file:
            file.seek(self._read_at)
            payloads: list[bytes] = []
            end = self._read_at
            while end < (begun or first.size) and (begun or len(payloads) < limit):
                length, _ = _FRAME.unpack(file.read(_FRAME.size))
                payloads.append(file.read(length))
                end += _FRAME.size + length
        if end != begun:
            self._begun = first.number, end
            _put(self._begun_mark, _BEGUN.pack(*self._begun))
        return Chunk(payloads, first.number, end)

    def acked(self, chunk: Chunk) -> None:
        """These frames need not be kept. Nothing happens when they were dropped meanwhile."""
        first = self._files[0]
        if first.number != chunk.number:
            return
        self._read_at, self._read_frames = chunk.end, self._read_frames + len(chunk.payloads)
        self._free_finished()
        self._remember()

    def close(self) -> None:
        """The folder is somebody else's to open."""
        synced(self.to_sync())
        for opened in (self._writing, self._mark, self._begun_mark, self._lock):
            os.close(opened)

    def _remember(self) -> None:
        """The mark stands where reading stands. On a full disk it may not: then the next life repeats frames and loses none."""
        _put(self._mark, _MARK.pack(self._files[0].number, self._read_at, self._read_frames))

    def _begin(self) -> _Segment:
        """A new file is written to from now on. Raises OSError when there can be none; then the last one goes on."""
        number = self._files[-1].number + 1 if self._files else 1
        made = _Segment(self._folder / f"{number:016d}.spool", number)
        opened = os.open(made.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        if self._writing >= 0:
            self._unsynced.append(self._writing)
        self._writing = opened
        self._files.append(made)
        self._free_finished()
        return made

    def _write(self, last: _Segment, data: bytes) -> None:
        written = 0
        try:
            while written < len(data):
                written += os.write(self._writing, data[written:])
        finally:
            if written < len(data):
                # Half a frame would make every later one unreadable.
                os.ftruncate(self._writing, last.size)

    def _make_room(self, wanted: int) -> int:
        """Drops the oldest files until there is room; returns how many frames that nobody acked were in them."""
        dropped = 0
        while self.size_bytes + wanted > self._max_bytes and any(one.size for one in self._files):
            if len(self._files) == 1:
                self._begin()
            else:
                dropped += self._files[0].frames - self._read_frames
                self._free()
        return dropped

    def _free_finished(self) -> None:
        while len(self._files) > 1 and self._read_at >= self._files[0].size:
            self._free()

    def _free(self) -> None:
        self._files.popleft().path.unlink()
        self._read_at = self._read_frames = 0

    def _found(self) -> list[_Segment]:
        found = []
        for path in sorted(self._folder.glob("*.spool")):
            one = _Segment(path, int(path.stem))
            self._measure(one)
            found.append(one)
        return found

    def _measure(self, one: _Segment) -> None:
        """Counts the whole frames; what a crash left half-written behind them is cut off."""
        data = one.path.read_bytes()
        while (end := _frame_end(data, one.size)) is not None:
            one.size, one.frames = end, one.frames + 1
        if one.size < len(data):
            self.torn_bytes += len(data) - one.size
            os.truncate(one.path, one.size)

    def _marked(self) -> tuple[int, int]:
        """Offset and number of the acked frames of the first file."""
        number, offset, frames = _got(self._mark, _MARK) or (0, 0, 0)
        is_of_first = bool(self._files) and number == self._files[0].number and offset <= self._files[0].size
        return (offset, frames) if is_of_first else (0, 0)


def synced(files: Sequence[int]) -> None:
    """The files are on the disk, and closed. Blocks."""
    for file in files:
        os.fdatasync(file)
        os.close(file)


def _put(file: int, mark: bytes) -> None:
    """The mark is in its file, if there is room."""
    try:
        os.pwrite(file, _with_checksum(mark), 0)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise


def _got(file: int, form: struct.Struct) -> tuple[int, ...] | None:
    """The mark that is whole in its file, if there is one."""
    data = os.pread(file, form.size + 4, 0)
    return form.unpack(data[: form.size]) if data == _with_checksum(data[: form.size]) else None


def _with_checksum(mark: bytes) -> bytes:
    return mark + struct.pack("<I", crc32(mark))


def _frame_end(data: bytes, start: int) -> int | None:
    """Where the frame ends that begins here, or None when there is no whole one."""
    if start + _FRAME.size > len(data):
        return None
    length, checksum = _FRAME.unpack_from(data, start)
    end: int = start + _FRAME.size + length
    whole = end <= len(data) and crc32(data[start + _FRAME.size : end]) == checksum
    return end if whole else None


def _locked(folder: Path) -> int:
    opened = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(opened)
        raise DriftloopError(f"{folder} is in use by another process: give each its own folder") from error
    return opened
