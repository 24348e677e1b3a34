"""Bytes on their way in: their digest, and so their key, is known only after the last one."""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO, Final

from driftloop_artifacts.digest import Digest
from driftloop_artifacts.errors import ArtifactTooLarge, StoreUnavailable

IN_MEMORY_BYTES: Final = 8 << 20


@asynccontextmanager
async def received(
    data: bytes | AsyncIterator[bytes], max_bytes: int
) -> AsyncIterator[tuple[bytes | IO[bytes], Digest]]:
    """All of the data, rewound, and its digest. Beyond 8 MiB a stream lies in a nameless file that dies with us."""
    if isinstance(data, bytes):
        _allow(len(data), max_bytes)
        yield data, await asyncio.to_thread(Digest.of, data)
        return
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as file:
        digest = await _spooled(data, file, max_bytes)
        file.seek(0)
        yield file, digest


async def _spooled(chunks: AsyncIterator[bytes], file: IO[bytes], max_bytes: int) -> Digest:
    hasher, size_bytes = hashlib.sha256(), 0
    async for chunk in chunks:
        size_bytes += len(chunk)
        _allow(size_bytes, max_bytes)
        hasher.update(chunk)
        await _kept(chunk, file)
    return Digest(f"sha256:{hasher.hexdigest()}")


async def _kept(chunk: bytes, file: IO[bytes]) -> None:
    try:
        await asyncio.to_thread(file.write, chunk)
    except OSError as error:
        raise StoreUnavailable("put", "the temporary folder", str(error)) from error


def _allow(size_bytes: int, max_bytes: int) -> None:
    if size_bytes > max_bytes:
        raise ArtifactTooLarge("what was put", size_bytes, max_bytes)
