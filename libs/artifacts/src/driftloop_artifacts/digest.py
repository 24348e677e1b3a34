"""The only name an artifact has."""

import hashlib
import re
from typing import Self

_FORM = re.compile(r"sha256:[0-9a-f]{64}")


class BadDigest(ValueError):
    """The text is no digest, so it names no artifact."""

    def __init__(self, given: str) -> None:
        # Cut, because the text may be a client's and of any length.
        super().__init__(f"a digest is 'sha256:' and 64 lower-case hex digits, got {given[:80]!r}")


class Digest(str):
    """`sha256:` and 64 lower-case hex digits: checked when made, so that a key built from it is safe.

    Raises BadDigest for anything else.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if not _FORM.fullmatch(text):
            raise BadDigest(text)
        return super().__new__(cls, text)

    @classmethod
    def of(cls, data: bytes) -> Self:
        """The digest of these bytes."""
        return cls(f"sha256:{hashlib.sha256(data).hexdigest()}")

    @property
    def hex(self) -> str:
        """The 64 hex digits alone."""
        return self.removeprefix("sha256:")

    @property
    def key(self) -> str:
        """Where the bytes lie in a store. Two digits are a folder of their own, so that none gets too many entries."""
        return f"sha256/{self.hex[:2]}/{self.hex}"
