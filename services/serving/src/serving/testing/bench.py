"""A whole serving in memory: real models, a real artifact store, a list instead of the spool."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np

from driftloop_artifacts import ArtifactStore
from driftloop_bus.codec import decode
from driftloop_bus.ports import Outgoing, Record
from driftloop_bus.testing.waiting import eventually
from driftloop_contracts import Event, Fact, first
from driftloop_contracts.control_plane import (
    Challenger,
    DeploymentChanged,
    ModelDeclared,
    ModelRetired,
    PreviousVersion,
    ServedVersion,
)
from driftloop_contracts.data_plane import FeaturesUpdated, PredictionMade
from driftloop_contracts.documents import ModelDeclaration
from driftloop_models import Encoder, Linear, TableModel, save
from driftloop_models.fields import CategoryField, NumberField
from serving.handlers import Serving
from serving.online import OnlineReadings
from serving.ports import Artifacts, Counted
from serving.shelf import LoadModel, Shelf, load_table_model
from serving.ticks import Ticks

NOON: Final = datetime(2013, 6, 19, 12, tzinfo=UTC)
DEADLINE_S: Final = 10.0


class ListSpool:
    """Keeps events in memory, one append a tick; `broken` makes it fail as a full disk does."""

    def __init__(self) -> None:
        self.appends: list[list[PredictionMade]] = []
        self.events: list[Event[PredictionMade]] = []
        self.broken = False

    def append(self, records: Sequence[Outgoing]) -> None:
        """Remembered as what a consumer would read, unless broken."""
        if self.broken:
            raise OSError(28, "No space left on device")
        events = [decode(_as_read(record)) for record in records]
        self.events += events
        self.appends.append([event.data for event in events])

    def of(self, variant: str) -> list[PredictionMade]:
        """The predictions of this variant, in order."""
        return [event.data for event in self.events if event.data.variant == variant]


def _as_read(record: Outgoing) -> Record:
    return Record(record.topic, 0, 0, 0, record.key, record.value, record.headers)


class Tally:
    """Counts by (what, why)."""

    def __init__(self) -> None:
        self.seen: Counter[tuple[str, str]] = Counter()

    def add(self, what: Counted, model: str, why: str, n: int = 1) -> None:
        """n more of it."""
        self.seen[what, why] += n

    def predicted(self, model: str, variant: str, rows: int, seconds: float) -> None:
        """So many rows more of the variant."""
        self.seen["predicted", variant] += rows

    def emitted(self, seconds: float) -> None:
        """One tick more."""
        self.seen["emitted", ""] += 1


def linear_model(weight: float, *, classes: tuple[Any, ...] = (False, True)) -> bytes:
    """A logistic model on `wind` (a number) and `origin` (EWR counts `weight` more), saved."""
    fields = (
        NumberField("wind", "number", fill=0.0, center=0.0, scale=1.0, flagged=True),
        CategoryField("origin", ("EWR", "JFK")),
    )
    estimator = Linear(np.array([[0.1, 0.0, weight, 0.0, 0.0]]), np.zeros(1))
    return save(TableModel(Encoder("one_hot", fields), estimator, "binary", classes))


FEATURES: Final[dict[str, Any]] = {"wind": "number", "origin": "category"}


def a_declaration(model: str = "late", **changed: Any) -> ModelDeclaration:
    """A declaration of two features from the caller, unless changed."""
    document = {
        "model": model,
        "owner": "ops",
        "task": "binary",
        "features": FEATURES,
        "segments": ["origin"],
        "train": {"entry": "late.train:train"},
    }
    return ModelDeclaration.model_validate(document | changed)


def an_event(data: Fact, time: datetime = NOON) -> Event[Any]:
    """The fact in an envelope whose id follows from it."""
    return first(data, id=f"{data.TYPE}:{data.key()}:{time.isoformat()}", time=time)


class Bench:
    """Everything that serving consists of, without a broker and a port."""

    def __init__(
        self,
        load: LoadModel = load_table_model,
        *,
        store: ArtifactStore | None = None,
        reached_by: Callable[[ArtifactStore], Artifacts] = lambda store: store,
        remembered_rows: int = 10_000,
    ) -> None:
        """reached_by: what stands between the shelf and the store."""
        self.artifacts = store or ArtifactStore.open("memory://")
        self.tally = Tally()
        self.shelf = Shelf(reached_by(self.artifacts), self.tally, load)
        self.online = OnlineReadings()
        self.spool = ListSpool()
        self.now = NOON
        self.serving = Serving(self.shelf, self.online, self.tally, lambda: self.now, any_time=True)
        self.ticks = Ticks(self.serving, self.spool, self.tally, remembered_rows)
        self.revisions: Counter[str] = Counter()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Bench]:
        """The shelf loads while the block runs."""
        running = asyncio.create_task(self.shelf.run())
        try:
            yield self
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def declare(self, declaration: ModelDeclaration) -> None:
        """The declaration holds."""
        data = ModelDeclared(model=declaration.model, document=declaration, digest="sha256:0", applied_by="ops")
        await self.serving.on_model_declared(an_event(data))

    async def retire(self, model: str) -> None:
        """The model is gone."""
        await self.serving.on_model_retired(an_event(ModelRetired(model=model, reason="old", retired_by="ops")))

    async def served(self, version: str, data: bytes, **more: Any) -> dict[str, Any]:
        """The fields of a version whose bytes are in the store."""
        digest = str(await self.artifacts.put(data))
        named = {"version": version, "artifact_digest": digest, "artifact_format": "driftloop-table-model"}
        return {**named, "features": FEATURES, "since": NOON, **more}

    async def deploy(
        self,
        champion: Mapping[str, Any] | None,
        challengers: Sequence[Mapping[str, Any]] = (),
        previous: Mapping[str, Any] | None = None,
        model: str = "late",
        revision: int | None = None,
    ) -> None:
        """The deployment was heard; it is shown when `settled` returns."""
        self.revisions[model] += 1
        changed = DeploymentChanged(
            model=model,
            revision=revision or self.revisions[model],
            champion=ServedVersion(**champion) if champion else None,
            challengers=[Challenger(**{"mode": "shadow", "candidate": "c", **one}) for one in challengers],
            previous=PreviousVersion(**{"shadow_until": NOON + timedelta(days=28), **previous}) if previous else None,
            reason="first",
        )
        await self.serving.on_deployment_changed(an_event(changed))

    async def settled(self) -> None:
        """Every deployment was tried once."""
        await eventually(lambda: not self.shelf.pending(), DEADLINE_S)

    async def observe(self, view: str, entity: str, values: dict[str, Any], time: datetime, revision: int = 0) -> None:
        """The feature store said so."""
        data = FeaturesUpdated(view=view, entity=entity, values=values, time=time, revision=revision)
        await self.serving.on_features_updated(an_event(data, time))
