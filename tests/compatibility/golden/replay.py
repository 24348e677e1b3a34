"""A recorded circle, heard again by one service: today's code on a log in memory and a database of its own.

The service is the one that ships (its routes, handlers, stores, relay and workers). Only the slow work of its jobs is not done
again: gathering rows and training end as they were recorded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from tests.compatibility.golden.dump import said

from driftloop_bus.codec import decode
from driftloop_bus.ports import Outgoing, Record
from driftloop_bus.routes import reads
from driftloop_bus.testing import MemoryLog
from driftloop_contracts.loop import CandidateTrained, DatasetBuilt, DatasetFailed, TrainingFailed
from driftloop_contracts.topics import (
    CANDIDATES,
    DATASETS,
    FEATURES,
    OUTCOMES,
    PREDICTIONS,
    ROLLUPS,
    RUNS,
    TOPICS,
    on_demand,
)
from driftloop_kit.database import open_database
from driftloop_kit.health import Health
from driftloop_kit.jobs import Job, JobFailed
from driftloop_kit.ledger import PostgresLedger
from driftloop_kit.organs import Organs
from driftloop_kit.service import Context, Service
from feature_store.__main__ import build as feature_store
from feature_store.handlers import DATASET
from feature_store.settings import Settings as FeatureStoreSettings
from monitor.__main__ import build as monitor
from monitor.settings import Settings as MonitorSettings
from registry.__main__ import build as registry
from registry.settings import Settings as RegistrySettings
from retrainer.__main__ import build as retrainer
from retrainer.handlers import TRAINING
from retrainer.settings import Settings as RetrainerSettings

SERVICES: Final[dict[str, tuple[Callable[[Any], Service[Any]], type[Any]]]] = {
    "registry": (registry, RegistrySettings),
    "feature_store": (feature_store, FeatureStoreSettings),
    "monitor": (monitor, MonitorSettings),
    "retrainer": (retrainer, RetrainerSettings),
}
# What else runs beside the handlers (the Delta history, a warm trainer) decides nothing; a topic's silence is a matter of
# live traffic, and the recording held none.
NEEDED: Final = frozenset({"look_where_declarations_end"})
ENDS: Final = {DATASET: (DatasetBuilt, DatasetFailed), TRAINING: (CandidateTrained, TrainingFailed)}
# What MLflow's clients did at the registry's door; what the rollups' own process, which promises nothing, sums up.
ELSEWHERE: Final = (RUNS, ROLLUPS)
LOOK_S: Final = 0.002
WITHIN_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Heard:
    """What a service said to the recording."""

    log: MemoryLog

    def said(self, topic: str) -> dict[str, str]:
        """Its events on this topic, as `comparable` gives them."""
        return comparable(topic, self.log.records(topic))


def written(service: str) -> list[str]:
    """Topics that the service writes because of what it hears."""
    return [topic.name for topic in TOPICS if topic.owner == service and topic not in ELSEWHERE]


def comparable(topic: str, records: Sequence[Record]) -> dict[str, str]:
    """Ids and digests of a topic; of values that replace each other the last ones, since a batch tells its newest alone."""
    if topic == FEATURES.name:
        records = list({record.key: record for record in records}.values())
    return said(records)


async def replay(name: str, records: Sequence[Record], url: str, folder: Path) -> Heard:
    """The service has heard everything that it reads of these records, and said what follows from it.

    url: its database, empty. folder: holds `artifacts`. Raises AssertionError when it does not come to its end in time.
    """
    readable = {topic.name for topic in reads(name)} - set(written(name))
    log = MemoryLog()
    for model in {record.key.decode() for record in records if record.topic == "retraining.v1" and record.key}:
        log.create(on_demand(model))
    async with _running(name, records, log, url, folder) as settled:
        given = [record for record in records if record.topic in readable]
        for _, together in groupby(given, key=_kind):
            for record in together:
                log.append(Outgoing(record.topic, record.key, record.value or b"", record.headers, record.partition))
            await settled()
    return Heard(log)


@asynccontextmanager
async def _running(
    name: str, records: Sequence[Record], log: MemoryLog, url: str, folder: Path
) -> AsyncIterator[Callable[[], Coroutine[Any, Any, None]]]:
    build, settings = SERVICES[name]
    service = build(_settings(settings, url, folder))
    service = replace(service, jobs=[_as_recorded(kind, records) for kind in service.jobs])
    database = await open_database(url)
    ledger = PostgresLedger(database, name)
    context: Context[Any] = Context(name, service.settings, log, Health(), service.handlers, ledger)
    organs = Organs.of(service, context)
    beside = [one(context) for one in service.background if getattr(one, "__name__", "") in NEEDED]
    tasks = [asyncio.ensure_future(work) for work in (*beside, *(run for _, run in organs.all_runs()))]
    try:
        yield lambda: _settled(name, log, ledger, organs, tasks)
    finally:
        organs.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await ledger.close()


def _kind(record: Record) -> str:
    """What is told together: a topic's records, but both data topics as one. No order between those two decides anything."""
    return "data" if record.topic in (PREDICTIONS.name, OUTCOMES.name) else record.topic


async def _settled(
    name: str, log: MemoryLog, ledger: PostgresLedger, organs: Organs[Any], tasks: Sequence[asyncio.Future[None]]
) -> None:
    """Everything on the log is handled, no job is open, nothing waits to be published."""
    deadline = time.monotonic() + WITHIN_S
    while not (
        _read(name, log, organs) and ledger.pending == 0 and not await _jobs(ledger) and _read(name, log, organs)
    ):
        for task in tasks:
            if task.done() and task.exception():
                raise AssertionError(f"{name} has ended") from task.exception()
        why = organs.waiting_for() or organs.unsent() or organs.paused() or "nobody says why"
        assert time.monotonic() < deadline, f"{name} does not come to its end: {why}"
        await asyncio.sleep(LOOK_S)


def _read(name: str, log: MemoryLog, organs: Organs[Any]) -> bool:
    assert organs.runner is not None
    read = organs.runner.positions()
    mine = {topic.name for topic in reads(name)}
    return all(
        read.get(topic, {}).get(number, 0) >= len(records)
        for (topic, number), records in log.partitions.items()
        if topic in mine and topic in read
    ) and bool(read)


async def _jobs(ledger: PostgresLedger) -> int:
    async with ledger.reading() as connection:
        return int(await connection.fetchval("SELECT count(*) FROM job WHERE ended_at IS NULL"))


def _settings(kind: type[Any], url: str, folder: Path) -> Any:
    places = {name: (folder / name).as_uri() for name in ("artifacts", "history")}
    return kind(kafka="127.0.0.1:1", database_url=url, http_port=0, data=folder / "data", **places)


def _as_recorded(kind: Any, records: Sequence[Record]) -> Any:
    """The job's work ends as it did; what is begun and what follows from its end is today's."""
    if kind.kind not in ENDS:
        return kind
    topic = DATASETS.name if kind.kind == DATASET else CANDIDATES.name
    done, failed = ENDS[kind.kind]
    told = [decode(record).data for record in records if record.topic == topic]
    ends = {fact.request_id: fact for fact in told if isinstance(fact, (done, failed))}

    async def run(context: Context[Any], job: Job) -> Any:
        request = job.payload["request" if kind.kind == DATASET else "training"]["request_id"]
        fact = ends[request]
        if isinstance(fact, failed):
            raise JobFailed(fact.reason, getattr(fact, "kind", "raised"))
        return fact.model_dump(mode="json")

    return replace(kind, run=run)
