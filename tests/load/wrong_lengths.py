"""Bodies of two gigabytes, without an end, and of another length than was said: what each is told, over a bare socket."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Final

HEAD: Final = b"POST %s HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
PIECE: Final = b" " * 65536
GIVES_UP_AFTER_S: Final = 30.0
REFUSALS: Final = (400, 413)
Request = tuple[bytes, Iterator[bytes]]


def cases() -> dict[str, Request]:
    """The headers after the head, and what follows them."""
    nothing = iter(())
    return {
        "2 GiB, sent": (b"content-length: 2147483648\r\n\r\n", repeat(PIECE)),
        "2 GiB, asked first": (b"content-length: 2147483648\r\nexpect: 100-continue\r\n\r\n", nothing),
        "chunks without an end": (b"transfer-encoding: chunked\r\n\r\n", repeat(b"10000\r\n" + PIECE + b"\r\n")),
        "small chunks without an end": (b"transfer-encoding: chunked\r\n\r\n", repeat(b"1\r\n \r\n" * 10_000)),
        "a chunk of 2^80": (b"transfer-encoding: chunked\r\n\r\nffffffffffffffffffff\r\n", repeat(PIECE)),
        "more than declared": (b"content-length: 10\r\n\r\n", repeat(PIECE)),
        "less than declared": (b"content-length: 1000\r\n\r\n", iter((b" " * 10,))),
        "below nothing": (b"content-length: -1\r\n\r\n", iter((PIECE,))),
        "two lengths": (b"content-length: 5\r\ncontent-length: 6\r\n\r\n", iter((b"     ",))),
        "a length and chunks": (b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", iter((b"0\r\n\r\n",))),
        "headers without an end": (b"", repeat(b"a: b\r\n" * 10_000)),
    }


def told(port: int, path: str) -> dict[str, int]:
    """The last status that each was told; 0 where nothing was said."""
    asked = cases()
    with ThreadPoolExecutor(len(asked)) as threads:
        answers = [
            threads.submit(_last_status, port, HEAD % path.encode() + head, rest) for head, rest in asked.values()
        ]
        return dict(zip(asked, (answer.result() for answer in answers), strict=True))


def _last_status(port: int, head: bytes, rest: Iterator[bytes]) -> int:
    with socket.create_connection(("127.0.0.1", port)) as connection, ThreadPoolExecutor(1) as thread:
        reading = thread.submit(_read, connection)
        try:
            connection.sendall(head)
            for piece in rest:
                if reading.done():
                    break
                connection.sendall(piece)
        except OSError:
            # It has hung up on us, which is what it should.
            pass
        return reading.result()


def _read(connection: socket.socket) -> int:
    """Once the connection ends, or a refusal was said."""
    read, deadline = b"", time.monotonic() + GIVES_UP_AFTER_S
    connection.settimeout(GIVES_UP_AFTER_S)
    try:
        while time.monotonic() < deadline and _status(read) not in REFUSALS and (piece := connection.recv(65536)):
            read += piece
    except OSError:
        pass
    return _status(read)


def _status(read: bytes) -> int:
    """Of the last answer."""
    _, found, after = read.rpartition(b"HTTP/1.1 ")
    return int(after[:3]) if found and len(after) >= 3 else 0
