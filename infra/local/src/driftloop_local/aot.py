"""Java's ahead-of-time cache: the broker answers in half the time and CPU, once the cache was made.

It is written when the training process *exits*, after many seconds; so it is made by a broker of its own, never by the
one that is in use. A cache that does not fit is refused by Java, which then starts plain.
"""

import asyncio
import fcntl
import hashlib
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Final

from driftloop_local.children import end_child, start_child
from driftloop_local.home import cache_folder
from driftloop_local.jars import pinned_jars, sha256_of
from driftloop_local.kafka import (
    JAVA_FLAGS,
    broker_command,
    format_storage,
    java,
    why_not_answering,
    write_settings,
)
from driftloop_local.ports import free_port

ANSWERS_WITHIN_S: Final = 60.0
WRITTEN_WITHIN_S: Final = 120.0
# One for now and one for the checkout that is a version behind; each takes 66 MiB.
KEPT: Final = 2


def aot_cache() -> Path:
    """Where the cache of this very Java, these jars and these flags lies, or would lie."""
    release = (java().parent.parent / "release").read_text(encoding="utf-8")
    key = "\n".join([release, *(jar.sha256 for jar in pinned_jars()), *JAVA_FLAGS])
    return cache_folder() / "aot" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.aot"


def aot_flags() -> tuple[str, ...]:
    """For a broker: none while there is no cache, or when its bytes are not those that were written."""
    cache = aot_cache()
    return (f"-XX:AOTCache={cache}",) if is_sound(cache) else ()


def is_sound(cache: Path) -> bool:
    """Java maps the file into memory and does not look whether a bit has flipped. A broken one is removed."""
    digest = digest_file(cache)
    if cache.exists() and digest.exists() and sha256_of(cache) == digest.read_text(encoding="ascii"):
        return True
    cache.unlink(missing_ok=True)
    digest.unlink(missing_ok=True)
    return False


def digest_file(cache: Path) -> Path:
    return cache.with_name(f"{cache.name}.sha256")


async def train_aot_cache(scratch: Path, class_path: str, log: Path, environment: dict[str, str]) -> bool:
    """True when the cache is there afterwards; False when another process is making it or it could not be made."""
    cache = aot_cache()
    cache.parent.mkdir(parents=True, exist_ok=True)
    with (cache.parent / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if not cache.exists():
            try:
                await train(cache, scratch, class_path, log, environment)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return cache.exists()


async def train(cache: Path, scratch: Path, class_path: str, log: Path, environment: dict[str, str]) -> None:
    """A broker with nothing to do is started, answers, and leaves its cache when it ends."""
    port, controller_port = free_port(()), free_port(())
    write_settings(scratch, port, controller_port)
    await format_storage(scratch, class_path, log, environment)
    fresh = cache.with_name(f".{cache.name}.{os.getpid()}")
    command = ("nice", "-n", "19", *broker_command(class_path, (f"-XX:AOTCacheOutput={fresh}",)))
    child = await start_child(command, log, environment, scratch, death_signal=signal.SIGKILL)
    try:
        if await answers(f"127.0.0.1:{port}"):
            await end_child(child, signal.SIGTERM, WRITTEN_WITHIN_S)
            keep(fresh, cache)
    finally:
        await end_child(child, signal.SIGKILL, 1.0)
        for left in cache.parent.glob(f"{fresh.name}*"):
            left.unlink()


async def answers(address: str) -> bool:
    deadline = time.monotonic() + ANSWERS_WITHIN_S
    while await why_not_answering(address) is not None:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.5)
    return True


def keep(fresh: Path, cache: Path) -> None:
    """In place in one step; the oldest caches beyond KEPT go."""
    if not fresh.exists():
        return
    digest_file(cache).write_text(sha256_of(fresh), encoding="ascii")
    fresh.replace(cache)
    by_age = sorted(cache.parent.glob("*.aot"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in by_age[KEPT:]:
        old.unlink()
        digest_file(old).unlink(missing_ok=True)
