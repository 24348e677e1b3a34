"""What stands around a retrainer: people, a monitor that asks for trainings, a feature store with rows."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from services.retrainer.tests.world import BOUNDARY, UNTIL, document, requested, rows

from driftloop_artifacts import ArtifactStore
from driftloop_bus.codec import decode
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.testing import everything, say
from driftloop_contracts import AnyEvent, Event, Fact, caused, first
from driftloop_contracts.control_plane import CommandGiven
from driftloop_contracts.loop import DatasetBuilt, DatasetRequested, Manifest, RetrainRequested
from driftloop_contracts.topics import DATASET_REQUESTS

F = TypeVar("F", bound=Fact)


class Around:
    """One model and its topics."""

    def __init__(self, log: KafkaLog, artifacts: str, model: str) -> None:
        self.log, self.model = log, model
        self.store = ArtifactStore.open(artifacts)
        self._declared = 0

    async def declare(self, entry: str, **more: Any) -> None:
        """A person has applied the declaration; `more` replaces whole keys."""
        self._declared += 1
        params = more.pop("params", {})
        train = {"entry": entry, "timeout": "60s", "memory_mb": 1024, "params": params}
        text = document(self.model, train=train, **more).model_dump(mode="json", exclude_none=True)
        command = CommandGiven(model=self.model, given_by="anna", command="apply", document=text)
        await say(self.log, "console", first(command, id=f"{self.model}:{self._declared}", time=datetime.now(UTC)))

    async def ask(self, name: str) -> Event[RetrainRequested]:
        """A training is asked for."""
        event = requested(name, self.model)
        await say(self.log, "monitor", event)
        return event

    async def put(self, mark: float | None = None, seed: int = 1) -> str:
        """Rows of the model's world are in the artifact store; the first may carry a mark. Their digest."""
        table = rows(seed=seed)
        if mark is not None:
            wind = pa.array([mark, *table["wind"].to_pylist()[1:]], pa.float64())
            table = table.set_column(table.column_names.index("wind"), "wind", wind)
        sink = io.BytesIO()
        pq.write_table(table, sink)
        return str(await self.store.put(sink.getvalue()))

    async def answer(self, wish: Event[DatasetRequested], digest: str) -> None:
        """The feature store has built it."""
        manifest = Manifest(
            table_versions={"predictions": 1}, offsets=[], declaration_digest="sha256:d", rows=10, label_coverage=1.0,
            columns={}, until=UNTIL, boundary=BOUNDARY,
        )  # fmt: skip
        fact = DatasetBuilt(
            model=self.model, request_id=wish.data.request_id, digest=digest, size_bytes=1, manifest=manifest
        )
        await say(self.log, "feature_store", caused(fact, wish.as_cause()))

    async def of(self, topic: str, kind: type[F]) -> list[Event[F]]:
        """The model's events of this kind, in order, each once."""
        events = [decode(record) for record in await everything(self.log, topic) if record.key == self.model.encode()]
        return list({event.id: event for event in events if isinstance(event.data, kind)}.values())

    async def wish(self, request: AnyEvent, within_s: float = 60.0) -> Event[DatasetRequested]:
        """What the retrainer asks the feature store for this request."""
        async with asyncio.timeout(within_s):
            while True:
                for event in await self.of(DATASET_REQUESTS.name, DatasetRequested):
                    if event.data.request_id == request.id:
                        return event
                await asyncio.sleep(0.1)


async def until(holds: Callable[[], Any], within_s: float = 60.0, what: str = "it did not come") -> None:
    """Returns once it holds. Raises AssertionError when it does not in time."""
    try:
        async with asyncio.timeout(within_s):
            while not await holds():  # noqa: ASYNC110  # the other side is another process
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{what} within {within_s:g} s") from None


@asynccontextmanager
async def around(kafka: str, artifacts: str, model: str) -> AsyncIterator[Around]:
    """For as long as the block runs."""
    log = KafkaLog(kafka, "faults")
    try:
        yield Around(log, artifacts, model)
    finally:
        await log.close()
