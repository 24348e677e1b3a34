"""Half a blob that a killed writer left is swept away, one that may still be written is not."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from driftloop_artifacts import ArtifactStore
from driftloop_bus.testing.waiting import eventually
from driftloop_kit.telemetry import Telemetry
from retrainer.tidying import ABANDONED_AFTER, keep_swept


async def test_what_was_begun_long_ago_and_never_finished_is_gone(tmp_path: Path) -> None:
    store = ArtifactStore.open(tmp_path.as_uri())
    digest = await store.put(b"a model")
    whole = tmp_path / digest.key
    left, writing = whole.with_name(f"{whole.name}#1"), whole.with_name(f"{whole.name}#2")
    left.write_bytes(b"a mo")
    writing.write_bytes(b"a mo")
    os.utime(left, (time.time() - ABANDONED_AFTER.total_seconds() - 1,) * 2)
    keeping = asyncio.create_task(keep_swept(store, Telemetry("test")))
    await eventually(lambda: not left.exists(), 10.0)
    keeping.cancel()
    assert writing.exists()
    assert await store.get(digest, max_bytes=100) == b"a model"
