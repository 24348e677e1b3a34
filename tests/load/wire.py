"""HTTP as bytes: what a client that should cost next to nothing sends, and how it knows that an answer is whole."""

from __future__ import annotations


def request(path: str, body: bytes) -> bytes:
    """As it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def body_length(head: bytes) -> int:
    """How many bytes follow the head of an answer. Raises ValueError where it does not say."""
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0])
