"""Where messages begin in a stream of bytes, Kafka's and Postgres'. Pure; however the stream was cut, the same frames follow."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

Side = Literal["to_server", "to_client"]
TO_SERVER: Final = "to_server"
TO_CLIENT: Final = "to_client"
# What a client of Postgres may ask before it says who it is; the answer is one byte, and no message.
SSL_REQUEST: Final = 80877103
GSS_REQUEST: Final = 80877104


class Framing(Protocol):
    """One connection, both ways."""

    def length(self, side: Side, head: bytes) -> int | None:
        """How long the frame is that begins with these bytes; None while they are too few to tell.

        Called with ever more of the head until it tells, then for the frame that follows.
        """
        ...


class KafkaFrames:
    """A length of four bytes, then so many bytes."""

    def length(self, side: Side, head: bytes) -> int | None:
        """As the protocol."""
        return None if len(head) < 4 else 4 + _int32(head, 0)


@dataclass
class PostgresFrames:
    """A type of one byte and a length that counts itself; the first message of a client has no type."""

    _begun: bool = False
    _single_bytes: int = 0

    def length(self, side: Side, head: bytes) -> int | None:
        """As the protocol."""
        if side == TO_SERVER:
            return self._typed(head) if self._begun else self._first(head)
        if self._single_bytes:
            self._single_bytes -= 1
            return 1
        return self._typed(head)

    def _first(self, head: bytes) -> int | None:
        if len(head) < 8:
            return None
        if _int32(head, 4) in (SSL_REQUEST, GSS_REQUEST):
            # "No" is what a server without certificates says; the client then begins anew on the same connection.
            self._single_bytes += 1
        else:
            self._begun = True
        return _int32(head, 0)

    def _typed(self, head: bytes) -> int | None:
        return None if len(head) < 5 else 1 + _int32(head, 1)


def _int32(head: bytes, at: int) -> int:
    return int(struct.unpack_from(">i", head, at)[0])


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of one frame: its number on this side of the connection, and where in it they begin."""

    frame: int
    at: int
    data: bytes
    length: int
    """Of the whole frame."""


@dataclass
class Splitter:
    """One side of one connection. A head that is not whole yet is held back: at most seven bytes."""

    frames: Framing
    side: Side
    _number: int = 0
    _at: int = 0
    _length: int | None = None
    _held: bytearray = field(default_factory=bytearray)

    def feed(self, chunk: bytes) -> Iterator[Piece]:
        """The chunk in pieces, each of one frame."""
        self._held += chunk
        while self._held:
            if self._length is None:
                self._length = self.frames.length(self.side, bytes(self._held[:8]))
            if self._length is None:
                return
            yield self._taken(self._length)

    def rest(self) -> bytes:
        """What was held back when the stream ended."""
        return bytes(self._held)

    def _taken(self, length: int) -> Piece:
        data = bytes(self._held[: length - self._at])
        del self._held[: len(data)]
        piece = Piece(self._number, self._at, data, length)
        self._at += len(data)
        if self._at >= length:
            self._number, self._at, self._length = self._number + 1, 0, None
        return piece
