"""What the feature store hears, and what follows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from services.feature_store.tests.world import MODEL, at, batch, model_declared, observed, view_declared, wanted

from driftloop_bus.errors import BadMessage, Position
from driftloop_contracts import AnyEvent, Cause, Event
from driftloop_contracts.data_plane import FeaturesUpdated, ObservationMade
from driftloop_contracts.loop import DatasetBuilt, DatasetFailed
from driftloop_contracts.topics import OBSERVATIONS
from driftloop_kit.jobs import Done, Failed, Job
from feature_store.handlers import DATASET, FeatureStore
from feature_store.store import MemoryDeclarations, MemoryOnline


class MemoryJobs:
    """A queue that only remembers."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}

    async def add(self, job_id: str, kind: str, payload: Any, cause: Cause | None = None) -> bool:
        if job_id in self.jobs:
            return False
        self.jobs[job_id] = Job(job_id, kind, payload, cause=cause)
        return True


class Bench:
    """A feature store, and what its memory holds."""

    def __init__(self) -> None:
        self.online, self.declarations, self.queue = MemoryOnline(), MemoryDeclarations(), MemoryJobs()
        self.store = FeatureStore(self.online, self.declarations, self.queue)

    async def wind(self, site: str = "EWR") -> Any:
        found = await self.online.get([("weather", site)])
        return found["weather", site].values["wind"]


def updates(events: Sequence[AnyEvent]) -> list[tuple[str, Any]]:
    """Entity and wind of each update."""
    assert all(isinstance(event.data, FeaturesUpdated) for event in events)
    return [(event.data.entity, event.data.values["wind"]) for event in events]


async def test_an_observation_becomes_the_newest_values_of_its_entity() -> None:
    bench, reading = Bench(), observed(1, 5.0)
    [update] = await bench.store.on_observations(batch(reading))
    assert updates([update]) == [("EWR", 5.0)]
    assert (update.causation, update.time) == (reading.id, at(1))


async def test_of_a_batch_only_the_newest_of_each_entity_is_told() -> None:
    events = await Bench().store.on_observations(
        batch(observed(1, 5.0), observed(3, 7.0), observed(2, 6.0), observed(1, 1.0, "JFK"))
    )
    assert updates(events) == [("EWR", 7.0), ("JFK", 1.0)]


async def test_a_late_observation_never_overwrites_a_newer_one() -> None:
    bench = Bench()
    await bench.store.on_observations(batch(observed(3, 7.0)))
    assert await bench.store.on_observations(batch(observed(2, 6.0))) == []
    assert await bench.wind() == 7.0


async def test_a_correction_of_the_newest_reading_counts() -> None:
    bench = Bench()
    await bench.store.on_observations(batch(observed(3, 7.0)))
    assert updates(await bench.store.on_observations(batch(observed(3, 7.5, revision=1)))) == [("EWR", 7.5)]


async def test_a_missing_value_replaces_one_that_was_there() -> None:
    bench = Bench()
    await bench.store.on_observations(batch(observed(1, 7.0)))
    await bench.store.on_observations(batch(observed(2, None)))
    assert await bench.wind() is None


async def test_a_name_that_postgres_can_not_hold_is_a_bad_message_at_its_place() -> None:
    with pytest.raises(BadMessage, match="NUL") as bad:
        await Bench().store.on_observations(batch(observed(1, 7.0), observed(2, 7.0, "a\x00b")))
    assert bad.value.at == Position(OBSERVATIONS.name, 0, 1)


READINGS = st.lists(
    st.builds(
        lambda hours, wind, revision, site, name: observed(hours, wind, site, name=name, revision=revision),
        st.integers(0, 3), st.sampled_from([1.0, 2.0, None]), st.integers(0, 2), st.sampled_from(["EWR", "JFK"]),
        st.sampled_from("abcdefgh"),
    ),
    min_size=1, max_size=8, unique_by=lambda event: event.id,
)  # fmt: skip


@given(READINGS, st.randoms(use_true_random=False), st.integers(1, 4))
def test_any_order_and_any_cut_of_the_log_give_the_same_table(
    readings: list[Event[ObservationMade]], random: Any, size: int
) -> None:
    async def table(order: Sequence[Event[ObservationMade]]) -> dict[Any, Any]:
        bench = Bench()
        for start in range(0, len(order), size):
            await bench.store.on_observations(batch(*order[start : start + size]))
        return await bench.online.get([("weather", "EWR"), ("weather", "JFK")])

    async def both() -> None:
        shuffled = random.sample(readings * 2, 2 * len(readings))
        assert await table(shuffled) == await table(readings)

    asyncio.run(both())


async def test_a_push_is_stored_and_told_and_on_its_way_to_the_log() -> None:
    bench, pushed = Bench(), [observed(1, 5.0), observed(2, 6.0)]
    reply = await bench.store.push(pushed)
    assert reply.answer == 1
    assert [type(event.data) for event in reply.events if isinstance(event, Event)] == [ObservationMade] * 2 + [
        FeaturesUpdated
    ]
    assert await bench.wind() == 6.0
    # It comes back from the log, and nothing more follows.
    assert await bench.store.on_observations(batch(*pushed)) == []


async def test_a_dataset_becomes_one_job_however_often_it_is_asked_for() -> None:
    bench = Bench()
    await bench.store.on_model_declared(model_declared())
    await bench.store.on_view_declared(view_declared())
    request = wanted({"predictions.v1": {0: 10}})
    for _ in range(2):
        assert await bench.store.on_dataset_requested(request) == []
    [job] = bench.queue.jobs.values()
    assert job.kind == DATASET
    assert job.payload["declared"]["document"]["model"] == MODEL
    assert job.cause == request.as_cause()


async def test_a_dataset_of_a_model_whose_declaration_is_not_here_yet_is_a_job_that_waits_for_it() -> None:
    bench = Bench()
    assert await bench.store.on_dataset_requested(wanted({})) == []
    [job] = bench.queue.jobs.values()
    assert job.payload["declared"] is None


async def test_the_end_of_a_job_is_told() -> None:
    bench = Bench()
    await bench.store.on_model_declared(model_declared())
    request = wanted({})
    await bench.store.on_dataset_requested(request)
    [job] = bench.queue.jobs.values()
    manifest = {
        "table_versions": {}, "offsets": [], "declaration_digest": "d", "rows": 1, "label_coverage": 1.0, "columns": {},
        "until": at(1).isoformat(),
    }  # fmt: skip
    built = {"model": MODEL, "request_id": "request", "digest": "sha256:x", "size_bytes": 1, "manifest": manifest}
    [event] = await bench.store.on_dataset_ended(job, Done(built))
    assert isinstance(event.data, DatasetBuilt)
    assert (event.causation, event.time) == (request.id, request.time)
    [event] = await bench.store.on_dataset_ended(job, Failed("0 of 3 predictions had an outcome", "dataset"))
    assert isinstance(event.data, DatasetFailed)
    assert (event.data.reason, event.data.request_id) == ("0 of 3 predictions had an outcome", "request")
