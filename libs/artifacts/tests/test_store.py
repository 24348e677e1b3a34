"""One suite for every place that bytes can lie in."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import obstore
import pytest
from obstore.store import LocalStore, MemoryStore

from driftloop_artifacts import (
    ArtifactCorrupt,
    ArtifactMissing,
    ArtifactStore,
    ArtifactTooLarge,
    BadDigest,
    Digest,
    StoreUnavailable,
)
from driftloop_artifacts.incoming import IN_MEMORY_BYTES

MIB = 1 << 20
PLENTY = 64 * MIB


async def in_chunks(data: bytes, size_bytes: int = 1000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size_bytes):
        yield data[at : at + size_bytes]


async def broken_off(data: bytes) -> AsyncIterator[bytes]:
    yield data
    raise ConnectionResetError("the client went away")


async def drained(chunks: AsyncIterator[bytes], into: list[bytes] | None = None) -> list[bytes]:
    into = [] if into is None else into
    async for chunk in chunks:
        into.append(chunk)
    return into


def some_bytes(size_bytes: int, seed: int = 0) -> bytes:
    return hashlib.shake_128(seed.to_bytes(4, "big")).digest(size_bytes)


class ArtifactStoreContract:
    """What every store keeps. A subclass says how to open one, and how to reach its bytes behind its back."""

    store: ArtifactStore
    place: LocalStore | MemoryStore

    async def overwrite(self, digest: Digest, data: bytes) -> None:
        await obstore.put_async(self.place, digest.key, data)

    async def delete(self, digest: Digest) -> None:
        await obstore.delete_async(self.place, digest.key)

    async def keys(self) -> list[str]:
        return [entry["path"] async for batch in obstore.list(self.place) for entry in batch]

    @pytest.mark.parametrize("size_bytes", [0, 1, 1000, MIB, 11 * MIB + 1])
    async def test_what_was_put_can_be_read(self, size_bytes: int) -> None:
        data = some_bytes(size_bytes)
        digest = await self.store.put(data)
        assert digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert await self.store.get(digest, max_bytes=PLENTY) == data
        assert b"".join(await drained(self.store.stream(digest))) == data
        assert await self.store.exists(digest)

    @pytest.mark.parametrize("size_bytes", [0, 1500, IN_MEMORY_BYTES + 1])
    async def test_a_stream_gets_the_same_digest_as_its_bytes(self, size_bytes: int) -> None:
        data = some_bytes(size_bytes)
        digest = await self.store.put(in_chunks(data, 700_000))
        assert digest == Digest.of(data)
        assert await self.store.get(digest, max_bytes=PLENTY) == data

    async def test_the_key_is_built_from_the_digest_alone(self) -> None:
        digest = await self.store.put(b"model")
        assert await self.keys() == [f"sha256/{digest.hex[:2]}/{digest.hex}"]

    async def test_putting_twice_keeps_one(self) -> None:
        assert await self.store.put(b"model") == await self.store.put(in_chunks(b"model"))
        assert len(await self.keys()) == 1

    async def test_many_writers_of_the_same_bytes_do_not_disturb_each_other(self) -> None:
        data = some_bytes(2 * MIB)
        digests = await asyncio.gather(*(self.store.put(data) for _ in range(8)))
        assert len(set(digests)) == 1
        assert await self.store.get(digests[0], max_bytes=PLENTY) == data

    async def test_what_is_not_there_is_missing(self) -> None:
        digest = Digest.of(b"never put")
        assert not await self.store.exists(digest)
        with pytest.raises(ArtifactMissing, match=digest):
            await self.store.get(digest, max_bytes=PLENTY)
        with pytest.raises(ArtifactMissing, match=digest):
            await drained(self.store.stream(digest))

    async def test_other_bytes_under_a_digest_are_refused_and_both_digests_said(self) -> None:
        digest = await self.store.put(b"model")
        await self.overwrite(digest, b"model of somebody else")
        with pytest.raises(ArtifactCorrupt) as refusal:
            await self.store.get(digest, max_bytes=PLENTY)
        assert refusal.value.wanted == digest
        assert refusal.value.found == Digest.of(b"model of somebody else")
        assert "put the original bytes again" in str(refusal.value)

    async def test_a_corrupt_stream_never_reaches_its_end(self) -> None:
        data = some_bytes(3 * MIB)
        digest = await self.store.put(data)
        await self.overwrite(digest, data[:-1] + bytes([data[-1] ^ 1]))
        seen: list[bytes] = []
        with pytest.raises(ArtifactCorrupt):
            await drained(self.store.stream(digest), into=seen)
        assert len(b"".join(seen)) < len(data)

    async def test_putting_the_original_again_heals_a_corrupt_blob(self) -> None:
        digest = await self.store.put(b"model")
        await self.overwrite(digest, b"modem")
        await self.store.put(b"model")
        assert await self.store.get(digest, max_bytes=PLENTY) == b"model"

    async def test_one_flipped_bit_in_a_hundred_blobs_and_twenty_deleted_are_all_refused(self) -> None:
        blobs = [some_bytes(1 + 37 * seed, seed) for seed in range(130)]
        digests = [await self.store.put(blob) for blob in blobs]
        for seed in range(100):
            flipped = bytearray(blobs[seed])
            bit = (seed * 7919) % (8 * len(flipped))
            flipped[bit // 8] ^= 1 << bit % 8
            await self.overwrite(digests[seed], bytes(flipped))
        for seed in range(100, 120):
            await self.delete(digests[seed])
        verdicts = [await self.verdict(digest) for digest in digests]
        assert verdicts == ["corrupt"] * 100 + ["missing"] * 20 + ["whole"] * 10

    async def verdict(self, digest: Digest) -> str:
        try:
            await self.store.get(digest, max_bytes=PLENTY)
        except ArtifactCorrupt:
            return "corrupt"
        except ArtifactMissing:
            return "missing"
        return "whole"

    async def test_more_bytes_than_the_reader_allows_are_refused(self) -> None:
        digest = await self.store.put(some_bytes(1001))
        with pytest.raises(ArtifactTooLarge) as refusal:
            await self.store.get(digest, max_bytes=1000)
        assert (refusal.value.size_bytes, refusal.value.max_bytes) == (1001, 1000)
        assert len(await self.store.get(digest, max_bytes=1001)) == 1001

    @pytest.mark.parametrize("data", [some_bytes(1001), None])
    async def test_more_bytes_than_a_writer_may_put_are_refused_and_not_kept(self, data: bytes | None) -> None:
        with pytest.raises(ArtifactTooLarge):
            await self.store.put(data or in_chunks(some_bytes(1001), 100), max_bytes=1000)
        assert await self.keys() == []

    async def test_a_stream_that_breaks_off_leaves_nothing(self) -> None:
        with pytest.raises(ConnectionResetError, match="the client went away"):
            await self.store.put(broken_off(some_bytes(IN_MEMORY_BYTES + 1)))
        assert await self.keys() == []

    async def test_a_reader_beside_a_writer_sees_all_or_nothing(self) -> None:
        data = some_bytes(24 * MIB)
        writing = asyncio.create_task(self.store.put(data))
        seen = set()
        while not writing.done():
            seen.add(await self.verdict(Digest.of(data)))
        await writing
        assert seen <= {"missing", "whole"}
        assert await self.verdict(Digest.of(data)) == "whole"

    @pytest.mark.parametrize("path", ["../../etc/passwd", "sha256/ab/cd", "file:///etc/passwd", ""])
    async def test_a_path_is_no_digest(self, path: str) -> None:
        with pytest.raises(BadDigest):
            await self.store.get(path, max_bytes=PLENTY)
        with pytest.raises(BadDigest):
            await self.store.exists(path)
        with pytest.raises(BadDigest):
            await drained(self.store.stream(path))


class TestInMemory(ArtifactStoreContract):
    @pytest.fixture(autouse=True)
    def opened(self) -> None:
        self.place = MemoryStore()
        self.store = ArtifactStore(self.place, "memory://")

    async def test_each_opened_memory_store_is_its_own(self) -> None:
        digest = await ArtifactStore.open("memory://").put(b"model")
        assert not await ArtifactStore.open("memory://").exists(digest)


class TestInALocalFolder(ArtifactStoreContract):
    @pytest.fixture(autouse=True)
    def opened(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "a folder, not there yet"
        self.store = ArtifactStore.open(self.folder.as_uri())
        self.place = LocalStore(prefix=self.folder)

    async def test_another_process_reads_what_was_put(self) -> None:
        digest = await self.store.put(b"model")
        assert (self.folder / digest.key).read_bytes() == b"model"

    async def test_a_folder_that_went_away_is_unavailable_not_empty(self) -> None:
        digest = await self.store.put(b"model")
        (self.folder / digest.key).unlink()
        (self.folder / digest.key).parent.rmdir()
        (self.folder / "sha256").rmdir()
        (self.folder / "sha256").write_text("a file where the folder was")
        with pytest.raises(StoreUnavailable, match="may be repeated"):
            await self.store.get(digest, max_bytes=PLENTY)
        with pytest.raises(StoreUnavailable):
            await self.store.put(b"model")
