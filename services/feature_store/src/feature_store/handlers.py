"""Hears observations, and requests for rows as they were known."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from driftloop_bus.batches import ObservationBatch
from driftloop_bus.errors import BadMessage, Position
from driftloop_contracts import AnyEvent, Cause, Event, caused, derived_id
from driftloop_contracts.control_plane import ModelDeclared, ViewDeclared
from driftloop_contracts.data_plane import FeaturesUpdated, ObservationMade
from driftloop_contracts.documents import ModelDeclaration
from driftloop_contracts.loop import DatasetBuilt, DatasetFailed, DatasetRequested
from driftloop_kit.jobs import Done, Job, JobEnd
from driftloop_kit.service import Reply
from feature_store.domain import Reading, newest
from feature_store.ports import Declarations, JobQueue, Online

DATASET = "dataset"


class FeatureStore:
    """What was known when: online values at once, datasets on request."""

    def __init__(self, online: Online, declarations: Declarations, jobs: JobQueue) -> None:
        self.online = online
        self.declarations = declarations
        self.jobs = jobs

    async def on_model_declared(self, event: Event[ModelDeclared]) -> list[AnyEvent]:
        """The model's features are known."""
        await self.declarations.put_model(event.data.document, event.data.digest)
        return []

    async def on_view_declared(self, event: Event[ViewDeclared]) -> list[AnyEvent]:
        """The view is known."""
        await self.declarations.put_view(event.data.document)
        return []

    async def on_observations(self, batch: ObservationBatch) -> list[AnyEvent]:
        """Every entity of the batch has its newest values; what became the newest is told."""
        causes = {batch.event_ids[row]: row for row in range(len(batch))}
        stored = await self.online.put(newest(_readings(batch)))
        return [updated(reading, batch.cause(causes[reading.event_id])) for reading in stored]

    async def push(self, observed: list[Event[ObservationMade]]) -> Reply[int]:
        """The values are stored and told; the observations are on their way to the log, for the history."""
        causes = {event.id: event.as_cause() for event in observed}
        readings = [
            Reading(e.data.view, e.data.entity, e.data.values, e.data.time, e.data.revision, e.id) for e in observed
        ]
        stored = await self.online.put(newest(readings))
        updates = [updated(reading, causes[reading.event_id]) for reading in stored]
        return Reply(len(stored), [*observed, *updates])

    async def on_dataset_requested(self, event: Event[DatasetRequested]) -> list[AnyEvent]:
        """A job is queued that gathers the rows, its id derived from the event: twice delivered, one dataset.

        The declaration is pinned here; one that was not heard yet is waited for by the job, so that other models' go on.
        """
        request = event.data
        declared = await self.declarations.model(request.model)
        payload: dict[str, Any] = {
            "request": request.model_dump(mode="json"),
            "declared": declared and pinned(*declared),
        }
        await self.jobs.add(derived_id(event.id, DATASET), DATASET, payload, event.as_cause())
        return []

    async def on_dataset_ended(self, job: Job, end: JobEnd) -> list[AnyEvent]:
        """The rows by their digest, or the reason why there are none."""
        if job.cause is None:
            raise ValueError(f"job {job.id} of kind {job.kind} was stored without its cause")
        if isinstance(end, Done):
            return [caused(DatasetBuilt.model_validate(end.result), job.cause)]
        request = job.payload["request"]
        failed = DatasetFailed(model=request["model"], request_id=request["request_id"], reason=end.reason)
        return [caused(failed, job.cause)]


def pinned(document: ModelDeclaration, digest: str) -> dict[str, Any]:
    """The declaration as a job keeps it."""
    return {"document": document.model_dump(mode="json"), "digest": digest}


def updated(reading: Reading, cause: Cause) -> AnyEvent:
    """The entity's newest values, caused by the observation that brought them."""
    return caused(
        FeaturesUpdated(
            view=reading.view,
            entity=reading.entity,
            values=reading.values,
            time=reading.time,
            revision=reading.revision,
        ),
        cause,
        time=reading.time,
    )


def _readings(batch: ObservationBatch) -> list[Reading]:
    for row, entity in enumerate(batch.entities):
        if "\x00" in entity:
            at = Position(batch.topic, batch.partition, int(batch.offsets[row]))
            raise BadMessage(f"an entity's name may not hold a NUL, got {entity!r:.80}", at=at)
    return [
        Reading(
            batch.views[row],
            batch.entities[row],
            batch.values[row],
            datetime.fromtimestamp(int(batch.times[row]) / 1e6, UTC),
            int(batch.revisions[row]),
            batch.event_ids[row],
        )
        for row in range(len(batch))
    ]
