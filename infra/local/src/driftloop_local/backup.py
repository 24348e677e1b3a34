"""A whole stack in one folder, taken while it runs; and a stack that is as it was then.

First it is noted where the topics end, then the databases are saved, then the records before those ends, files last. What a
database has said beyond them, its outbox says again; what it has not said yet is on no topic of the backup.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from driftloop_local import saved, saved_databases
from driftloop_local.databases import ensure_database
from driftloop_local.errors import StackRefused
from driftloop_local.home import Home
from driftloop_local.record import Record, read_record
from driftloop_local.services import INFRASTRUCTURE

Told = Callable[[str, int], None]
"""Told the name of a part and how much more of it is done."""
FILES: Final = ("artifacts", "history")


async def back_up(home: Home, folder: Path, told: Told) -> saved.Manifest:
    """The folder holds the stack, and last of all the manifest. Raises StackRefused where it is not empty or nothing runs."""
    record, begun_at = running(home), saved.now()
    _begin(folder)
    ends = await _ends(record)
    databases = await _databases(record, folder, told)
    topics = await _topics(record, ends, folder, told)
    for kind in FILES:
        _copied(place_of(record, kind), folder / kind, partial(told, kind, 1))
    files = {name: saved.digest_of(folder / name) for name in saved.files_of(folder)}
    manifest = saved.Manifest(begun_at, saved.now(), databases, topics, files)
    manifest.write(folder)
    return manifest


async def restore(home: Home, folder: Path, told: Told, *, force: bool = False) -> saved.Manifest:
    """The stack holds what the backup holds; its services must be stopped.

    Raises StackRefused where a file is not as it was written, where a service runs, or where the stack holds something
    already. force: what it holds is deleted first.
    """
    manifest, record = saved.read(folder), running(home)
    if broken := list(saved.damages(folder, manifest)):
        raise StackRefused("the backup is damaged: " + "; ".join(broken[:5]), "restore another one")
    if busy := [part.name for part in record.parts.values() if part.is_up and part.name not in INFRASTRUCTURE]:
        raise StackRefused(
            f"services run: {', '.join(busy)}", "driftloop down, then driftloop up --detach --infra-only"
        )
    if not force and (held := await what_is_held(record)):
        raise StackRefused(f"the stack is not empty: {', '.join(held)}", "restore into a new folder, or say --force")
    kept = await _topics_loaded(record, manifest, folder, told)
    for name in manifest.databases:
        await ensure_database(given(record.postgres), name, home.secret(f"{name}_owner"), home.secret(name))
        await asyncio.to_thread(
            saved_databases.load, given(record.postgres), name, folder / "databases" / f"{name}.dump"
        )
        await saved_databases.told_to_a_new_log(given(record.postgres), name, kept)
        told("databases", 1)
    for kind in FILES:
        shutil.rmtree(place_of(record, kind), ignore_errors=True)
        _copied(folder / kind, place_of(record, kind), partial(told, kind, 1))
    return manifest


def running(home: Home) -> Record:
    """What runs there. Raises StackRefused without Kafka and Postgres."""
    record = read_record(home)
    if not record.is_running or not record.kafka or not record.postgres:
        raise StackRefused(f"Kafka and Postgres do not run in {home.folder}", "driftloop up --detach --infra-only")
    return record


async def what_is_held(record: Record) -> list[str]:
    """Names of what a restored stack would mix with."""
    url = given(record.postgres)
    held = [name for name in await saved_databases.names(url) if not await saved_databases.is_empty(url, name)]
    return [*held, *sorted({topic for (topic, _), end in (await _ends(record)).items() if end})]


def place_of(record: Record, kind: str) -> Path:
    """The folder of artifacts or history. Raises StackRefused for a store that is not a folder: it has backups of its own."""
    url = urlsplit(given(record.artifacts if kind == "artifacts" else record.history))
    if url.scheme != "file":
        raise StackRefused(f"{kind} are in {url.scheme}://, not in a folder", "use that store's own backup")
    return Path(unquote(url.path))


def given(value: str | None) -> str:
    if value is None:
        raise StackRefused("the stack does not say where everything is", "driftloop status")
    return value


def _begin(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise StackRefused(f"{folder} is not empty", "name a new folder: a backup never replaces another")
    for part in ("databases", "topics"):
        (folder / part).mkdir(parents=True, mode=0o700)


async def _databases(record: Record, folder: Path, told: Told) -> dict[str, dict[str, str]]:
    url = given(record.postgres)
    async with saved_databases.one_moment(url, await saved_databases.names(url)) as points:
        for name, point in points.items():
            file = folder / "databases" / f"{name}.dump"
            await asyncio.to_thread(saved_databases.dump, url, name, point["snapshot"], file)
            told("databases", 1)
    return {name: {"lsn": point["lsn"], "at": point["at"]} for name, point in points.items()}


async def _ends(record: Record) -> Mapping[tuple[str, int], int]:
    # Imported here, as in `topics`: the stack itself must start without our libraries.
    from driftloop_bus.kafka import KafkaLog
    from driftloop_local import saved_topics

    log = KafkaLog(given(record.kafka), "driftloop-backup")
    ends = await saved_topics.ends(log, await saved_topics.names(given(record.kafka)))
    await log.close()
    return ends


async def _topics(
    record: Record, ends: Mapping[tuple[str, int], int], folder: Path, told: Told
) -> dict[str, dict[str, dict[str, int]]]:
    from driftloop_bus.kafka import KafkaLog
    from driftloop_local import saved_topics

    log = KafkaLog(given(record.kafka), "driftloop-backup")
    counts = await saved_topics.save(log, ends, folder / "topics", partial(told, "records"))
    await log.close()
    found: dict[str, dict[str, dict[str, int]]] = {}
    for (topic, part), end in sorted(ends.items()):
        found.setdefault(topic, {})[str(part)] = {"next": end, "records": counts[topic, part]}
    return found


async def _topics_loaded(record: Record, manifest: saved.Manifest, folder: Path, told: Told) -> saved_databases.Kept:
    """The topics are made anew with the backup's records; which offsets these had, and where their partitions ended."""
    from driftloop_bus.emptying import empty_topics
    from driftloop_bus.kafka import KafkaLog
    from driftloop_bus.topics import catalogue, ensure_these
    from driftloop_local import saved_topics

    await empty_topics(given(record.kafka))
    # Those of one model's requests are not of the catalogue: they are made on demand.
    counts = {topic: (len(parts), dict[str, str]()) for topic, parts in manifest.topics.items()}
    await ensure_these(given(record.kafka), {name: counts[name] for name in counts.keys() - catalogue().keys()})
    places = [(topic, int(part)) for topic, parts in manifest.topics.items() for part in parts]
    log = KafkaLog(given(record.kafka), "driftloop-backup")
    await saved_topics.load(log, places, folder / "topics", lambda records: told("records", records))
    await log.close()
    return {
        (topic, part): (
            saved_topics.offsets(folder / "topics", (topic, part)),
            manifest.topics[topic][str(part)]["next"],
        )
        for topic, part in places
    }


def _copied(source: Path, target: Path, done: Callable[[], object]) -> None:
    """Every file of the one is in the other. What appears meanwhile may be missing: nothing that was saved before names it."""
    target.mkdir(parents=True, exist_ok=True)
    names: Collection[str] = saved.files_of(source) if source.exists() else []
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / name, target / name)
        done()
