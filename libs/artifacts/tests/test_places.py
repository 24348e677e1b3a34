"""URLs that are taken, URLs that are not, and stores that do not answer."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from driftloop_artifacts import ArtifactStore, Digest, StoreUnavailable

DEADLINE_S = 0.5


@pytest.mark.parametrize("url", ["s3://bucket/models", "gs://bucket/models", "az://account/container/models"])
def test_object_stores_open_without_being_asked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    ArtifactStore.open(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/var/artifacts",
        "file://relative/folder",
        "http://127.0.0.1/x",
        "https://bucket.example/x",
        "s3://",
        "ftp://x/y",
    ],
)
def test_any_other_url_is_refused_with_what_is_allowed(url: str) -> None:
    with pytest.raises(ValueError, match=r"file:///folder, s3://bucket/prefix"):
        ArtifactStore.open(url)


def test_a_folder_that_cannot_be_made_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StoreUnavailable, match="taken"):
        ArtifactStore.open((tmp_path / "taken").as_uri())


@pytest.fixture
async def silent_endpoint() -> AsyncIterator[str]:
    """Takes connections and never answers."""

    async def keep_quiet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            pass
        writer.close()

    server = await asyncio.start_server(keep_quiet, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_store_that_never_answers_is_unavailable_before_the_deadline_is_long_past(
    silent_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": silent_endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "here",
    }.items():
        monkeypatch.setenv(name, value)
    store, digest = ArtifactStore.open("s3://bucket/models", deadline_s=DEADLINE_S), Digest.of(b"model")
    for work in (
        store.put(b"model"),
        store.get(digest, max_bytes=10),
        store.exists(digest),
        anext(store.stream(digest)),
    ):
        begun_at = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await work
        assert time.monotonic() - begun_at < DEADLINE_S + 2


PUT_FOR_EVER = """
import asyncio, sys
from driftloop_artifacts import ArtifactStore

async def main():
    store = ArtifactStore.open(sys.argv[1])
    print("go", flush=True)
    while True:
        await store.put(b"m" * (40 << 20))

asyncio.run(main())
"""


async def test_a_writer_killed_at_any_moment_leaves_no_half_blob(tmp_path: Path) -> None:
    data = b"m" * (40 << 20)
    digest, store = Digest.of(data), ArtifactStore.open(tmp_path.as_uri())
    for moment in range(6):
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PUT_FOR_EVER, tmp_path.as_uri(), stdout=asyncio.subprocess.PIPE
        )
        assert writer.stdout is not None
        assert await writer.stdout.readline() == b"go\n"
        await asyncio.sleep(moment / 50)  # not a wait for something: the moment of the kill is what varies
        writer.kill()
        await writer.wait()
        if await store.exists(digest):
            assert await store.get(digest, max_bytes=len(data)) == data
            (tmp_path / digest.key).unlink()
    assert await store.put(data) == digest
    left = files(tmp_path) - {digest.hex}
    assert await store.sweep(unfinished_before=datetime.fromtimestamp(0, UTC)) == 0
    assert await store.sweep(unfinished_before=datetime.now(UTC) + timedelta(seconds=1)) == len(left)
    assert files(tmp_path) == {digest.hex}


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


async def test_only_a_local_folder_is_swept() -> None:
    assert await ArtifactStore.open("memory://").sweep(unfinished_before=datetime.now(UTC)) == 0
