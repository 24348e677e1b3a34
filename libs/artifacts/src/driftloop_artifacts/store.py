"""Bytes under their own digest, verified at every read."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeVar

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore

from driftloop_artifacts.digest import Digest
from driftloop_artifacts.errors import ArtifactCorrupt, ArtifactMissing, ArtifactTooLarge, StoreUnavailable
from driftloop_artifacts.incoming import received
from driftloop_artifacts.places import open_place

if TYPE_CHECKING:
    from obstore import GetResult
    from obstore.store import ObjectStore

T = TypeVar("T")

CHUNK_BYTES: Final = 1 << 20
# Longer than any healthy store needs for a model, short enough that a person still waits.
DEADLINE_S: Final = 60.0
# No model of ours comes near; a stream without an end must not fill the disk.
MAX_PUT_BYTES: Final = 8 << 30


class ArtifactStore:
    """Content-addressed bytes. One object may serve many tasks at once."""

    def __init__(self, place: "ObjectStore", where: str, *, deadline_s: float = DEADLINE_S) -> None:
        self._place = place
        self._where = where
        self._deadline_s = deadline_s

    @classmethod
    def open(cls, url: str, *, deadline_s: float = DEADLINE_S) -> Self:
        """The store at `file://`, `s3://`, `gs://`, `az://` or `memory://` (each `memory://` is a new, empty one).

        deadline_s bounds every single operation; of a stream, every chunk.
        Raises ValueError for another URL. A remote store is first asked by the first operation.
        """
        return cls(open_place(url, deadline_s=deadline_s), url, deadline_s=deadline_s)

    async def put(self, data: bytes | AsyncIterator[bytes], *, max_bytes: int = MAX_PUT_BYTES) -> Digest:
        """These bytes can be read under the returned digest; before that nobody sees any of them.

        Putting what is there already is allowed, and replaces a blob that has become corrupt.
        Raises ArtifactTooLarge, StoreUnavailable; what the iterator raises passes through. Then nothing is kept.
        """
        async with received(data, max_bytes) as (file, digest):
            # Always written, never skipped as "there already": the bytes there may be corrupt.
            await self._bounded("put", obstore.put_async(self._place, digest.key, file))
        return digest

    async def get(self, digest: str, *, max_bytes: int) -> bytes:
        """The bytes of this digest, verified.

        Raises BadDigest, ArtifactMissing, ArtifactCorrupt, ArtifactTooLarge, StoreUnavailable.
        """
        wanted = Digest(digest)
        return await self._bounded("get", self._verified(wanted, max_bytes), wanted)

    async def exists(self, digest: str) -> bool:
        """Whether something lies under this digest. Only `get` and `stream` tell whether it is intact."""
        wanted = Digest(digest)
        try:
            await self._bounded("exists", obstore.head_async(self._place, wanted.key), wanted)
        except ArtifactMissing:
            return False
        return True

    async def stream(self, digest: str) -> AsyncIterator[bytes]:
        """The bytes of this digest in chunks; the last chunk comes only if all of them were right.

        So a reader that sees the end has seen the artifact, and one that sees an error discards what it has.
        Raises as `get` does.
        """
        wanted, hasher, held = Digest(digest), hashlib.sha256(), b""
        found = await self._bounded("stream", obstore.get_async(self._place, wanted.key), wanted)
        chunks = aiter(found.stream(min_chunk_size=CHUNK_BYTES))
        while (chunk := await self._bounded("stream", anext(chunks, None), wanted)) is not None:
            if held:
                yield held
            held = bytes(chunk)
            hasher.update(held)
        self._check(wanted, Digest(f"sha256:{hasher.hexdigest()}"))
        if held:
            yield held

    async def sweep(self, *, unfinished_before: datetime) -> int:
        """What killed writers left in a local folder before this time is gone; returns how many files that were.

        Blobs are never touched. Other stores hide and expire unfinished uploads themselves.
        Raises StoreUnavailable.
        """
        if not isinstance(self._place, LocalStore) or self._place.prefix is None:
            return 0
        sweeping = asyncio.to_thread(_swept, Path(self._place.prefix), unfinished_before.timestamp())
        return await self._bounded("sweep", sweeping)

    async def _verified(self, wanted: Digest, max_bytes: int) -> bytes:
        found = await obstore.get_async(self._place, wanted.key)
        if found.meta["size"] > max_bytes:
            raise ArtifactTooLarge(f"artifact {wanted}", found.meta["size"], max_bytes)
        data = await _at_most(found, max_bytes, wanted)
        self._check(wanted, await asyncio.to_thread(Digest.of, data))
        return data

    def _check(self, wanted: Digest, found: Digest) -> None:
        if found != wanted:
            raise ArtifactCorrupt(wanted, found, self._where)

    async def _bounded(self, doing: str, work: Awaitable[T], wanted: Digest | None = None) -> T:
        """Its result, before the deadline, or an error of ours."""
        try:
            async with asyncio.timeout(self._deadline_s):
                return await work
        except TimeoutError as error:
            raise StoreUnavailable(doing, self._where, f"no answer within {self._deadline_s:g} s") from error
        except (NotFoundError, FileNotFoundError) as error:
            if wanted is None:
                raise StoreUnavailable(doing, self._where, _first_line(error)) from error
            raise ArtifactMissing(wanted, self._where) from error
        except (BaseError, OSError) as error:
            raise StoreUnavailable(doing, self._where, _first_line(error)) from error


async def _at_most(found: "GetResult", max_bytes: int, wanted: Digest) -> bytes:
    """What the store sends, counted while it comes: its own word on the size may be wrong."""
    data = bytearray()
    async for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
        data += chunk
        if len(data) > max_bytes:
            raise ArtifactTooLarge(f"artifact {wanted}", len(data), max_bytes)
    return bytes(data)


def _swept(folder: Path, before_s: float) -> int:
    # obstore writes beside the blob, under its name with `#` and a number, and renames it at the end.
    left = [path for path in folder.glob("sha256/*/*#*") if _older(path, before_s)]
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def _older(path: Path, before_s: float) -> bool:
    try:
        return path.stat().st_mtime < before_s
    except FileNotFoundError:  # its writer has just finished
        return False


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
