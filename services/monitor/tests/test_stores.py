"""One suite for both stores: what is kept, joined, corrected and forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from services.monitor.tests.world import MODEL, at, command, deployed, loss_to_hold, served

from driftloop_contracts import Cause
from driftloop_kit.database import open_database, plain_url
from driftloop_kit.jobs import Jobs
from driftloop_kit.ledger import PostgresLedger
from monitor.domain.blocks import Block
from monitor.domain.clock import Clocks
from monitor.domain.link import Link
from monitor.domain.state import Incident, ModelState
from monitor.ports import Blocks, Documents, OutcomeRows, Positions, PredictionRows, References, Rows, States, Tallies
from monitor.store.memory import MemoryDocuments, MemoryPositions, MemoryRows, MemoryStates
from monitor.store.memory_features import MemoryBlocks, MemoryReferences, MemoryTallies
from monitor.store.postgres import PostgresDocuments, PostgresPositions, PostgresStates
from monitor.store.postgres_features import PostgresBlocks, PostgresReferences, PostgresTallies
from monitor.store.postgres_rows import PostgresRows
from monitor.store.shelf import Shelf


@dataclass
class Stores:
    """One store of each kind."""

    rows: Rows
    states: States
    documents: Documents
    positions: Positions
    blocks: Blocks
    tallies: Tallies
    references: References


def predictions(*rows: tuple[Any, ...]) -> PredictionRows:
    """(id, version, variant, time, arrived, score), and an entity where there is one."""
    return PredictionRows(
        streams=[MODEL] * len(rows),
        prediction_ids=[row[0] for row in rows],
        versions=[row[1] for row in rows],
        variants=[row[2] for row in rows],
        times_us=np.array([row[3] for row in rows], np.int64),
        arrived_us=np.array([row[4] for row in rows], np.int64),
        scores=np.array([row[5] for row in rows], np.float64),
        entities=[row[6] if len(row) > 6 else None for row in rows],
        slices=["site=EWR"] * len(rows),
    )


def outcomes(*rows: tuple[Any, ...]) -> OutcomeRows:
    """(id, arrived, value, revision), and (entity, prediction time) where there is no id."""
    return OutcomeRows(
        streams=[MODEL] * len(rows),
        event_ids=[f"event-{row[0] or row[4]}-{row[3]}" for row in rows],
        prediction_ids=[row[0] for row in rows],
        entities=[row[4] if len(row) > 4 else None for row in rows],
        prediction_times_us=np.array([row[5] if len(row) > 5 else 0 for row in rows], np.int64),
        observed_us=np.array([row[1] for row in rows], np.int64),
        arrived_us=np.array([row[1] for row in rows], np.int64),
        values=np.array([row[2] for row in rows], np.float64),
        revisions=[row[3] for row in rows],
    )


async def pair_up(rows: Rows, times: range) -> None:
    """A prediction at each time, and its outcome right after."""
    await rows.add_predictions(MODEL, predictions(*((f"p{time}", "1", "champion", time, time, 0.5) for time in times)))
    await rows.add_outcomes(MODEL, outcomes(*((f"p{time}", time + 1, 1.0, 0) for time in times)))


class StoresContract:
    """What every implementation owes. A subclass says how to open one."""

    async def test_a_pair_counts_when_its_second_half_arrives(self, stores: Stores) -> None:
        rows = predictions(("a", "1", "champion", 10, 10, 0.2), ("b", "1", "champion", 20, 20, 0.7))
        assert await stores.rows.add_predictions(MODEL, rows) == 2
        assert await stores.rows.add_outcomes(MODEL, outcomes(("a", 100, 0.0, 0), ("b", 101, 1.0, 0))) == 2
        joined = await stores.rows.joined(MODEL, ["1"], 0, 100)
        assert (joined.prediction_ids, joined.arrived_us.tolist()) == (["a"], [100])
        assert (joined.scores.tolist(), joined.values.tolist(), joined.slices) == ([0.2], [0.0], ["site=EWR"])
        assert (await stores.rows.joined(MODEL, ["1"], 100, 200)).prediction_ids == ["b"]
        assert len(await stores.rows.joined("other", ["1"], 0, 200)) == 0

    async def test_a_prediction_that_comes_late_completes_its_pair_later(self, stores: Stores) -> None:
        await stores.rows.add_outcomes(MODEL, outcomes(("a", 100, 1.0, 0)))
        await stores.rows.add_predictions(MODEL, predictions(("a", "1", "champion", 10, 150, 0.2)))
        assert len(await stores.rows.joined(MODEL, ["1"], 0, 149)) == 0
        late = await stores.rows.joined(MODEL, ["1"], 149, 150)
        assert (late.prediction_ids, late.arrived_us.tolist()) == (["a"], [150])
        assert await stores.rows.next_arrival(MODEL, 100) == 150
        assert await stores.rows.next_arrival(MODEL, 150) is None

    async def test_the_same_again_changes_nothing(self, stores: Stores) -> None:
        once = predictions(("a", "1", "champion", 10, 10, 0.2))
        again = predictions(("a", "1", "champion", 10, 10, 0.9), ("a", "1", "champion", 10, 10, 0.8))
        await stores.rows.add_predictions(MODEL, once)
        assert await stores.rows.add_predictions(MODEL, again) == 0
        await stores.rows.add_outcomes(MODEL, outcomes(("a", 100, 0.0, 0)))
        assert await stores.rows.add_outcomes(MODEL, outcomes(("a", 120, 1.0, 0), ("a", 130, 1.0, 0))) == 0
        joined = await stores.rows.joined(MODEL, ["1"], 0, 200)
        assert (joined.scores.tolist(), joined.values.tolist()) == ([0.2], [0.0])

    async def test_a_version_that_answered_twice_counts_once(self, stores: Stores) -> None:
        rows = predictions(("a", "1", "shadow", 10, 10, 0.9), ("a", "1", "champion", 10, 10, 0.2))
        await stores.rows.add_predictions(MODEL, rows)
        await stores.rows.add_outcomes(MODEL, outcomes(("a", 100, 0.0, 0)))
        assert (await stores.rows.joined(MODEL, ["1"], 0, 200)).scores.tolist() == [0.2]

    async def test_a_correction_changes_the_value_from_its_arrival_on_and_never_the_arrival(
        self, stores: Stores
    ) -> None:
        await stores.rows.add_predictions(MODEL, predictions(("a", "1", "champion", 10, 10, 0.2)))
        await stores.rows.add_outcomes(MODEL, outcomes(("a", 100, 0.0, 0), ("a", 150, 1.0, 2), ("a", 160, 0.0, 1)))
        before = await stores.rows.joined(MODEL, ["1"], 0, 149)
        after = await stores.rows.joined(MODEL, ["1"], 0, 200)
        assert (before.values.tolist(), after.values.tolist()) == ([0.0], [1.0])
        assert after.arrived_us.tolist() == [100]
        assert (await stores.rows.arrivals(MODEL, 0, 200)).values.tolist() == [1.0]
        assert len(await stores.rows.joined(MODEL, ["1"], 100, 200)) == 0

    async def test_a_later_revision_that_comes_first_is_not_taken_back(self, stores: Stores) -> None:
        await stores.rows.add_predictions(MODEL, predictions(("a", "1", "champion", 10, 10, 0.2)))
        await stores.rows.add_outcomes(MODEL, outcomes(("a", 100, 1.0, 1)))
        await stores.rows.add_outcomes(MODEL, outcomes(("a", 120, 0.0, 0)))
        assert (await stores.rows.joined(MODEL, ["1"], 0, 200)).values.tolist() == [1.0]

    async def test_an_outcome_without_an_id_is_joined_by_entity_and_time(self, stores: Stores) -> None:
        rows = predictions(("a", "1", "champion", 10, 10, 0.2, "N1"), ("b", "1", "champion", 11, 11, 0.3, "N1"))
        await stores.rows.add_predictions(MODEL, rows)
        await stores.rows.add_outcomes(MODEL, outcomes((None, 100, 1.0, 0, "N1", 11)))
        assert (await stores.rows.joined(MODEL, ["1"], 0, 200)).prediction_ids == ["b"]
        found = await stores.rows.coverage(MODEL, "1", 0, 20, 200)
        assert (found.predictions, found.labelled, found.delay_p50_us) == (2, 1, 89)

    async def test_rows_come_in_the_order_of_arrival_id_and_version(self, stores: Stores) -> None:
        rows = [(key, version, "champion", 1, 1, 0.5) for key in ("b", "a", "B") for version in ("2", "10")]
        await stores.rows.add_predictions(MODEL, predictions(*rows))
        await stores.rows.add_outcomes(MODEL, outcomes(("b", 50, 1.0, 0), ("a", 60, 1.0, 0), ("B", 60, 0.0, 0)))
        joined = await stores.rows.joined(MODEL, ["2", "10"], 0, 99)
        order = list(zip(joined.prediction_ids, joined.versions, strict=True))
        assert order == [("b", "10"), ("b", "2"), ("B", "10"), ("B", "2"), ("a", "10"), ("a", "2")]

    async def test_the_nth_outcome_is_counted_by_arrival_among_those_with_a_prediction(self, stores: Stores) -> None:
        rows = [(key, "1", "champion", 1, 1, 0.5) for key in "abc"]
        await stores.rows.add_predictions(MODEL, predictions(*rows))
        await stores.rows.add_outcomes(
            MODEL, outcomes(("c", 50, 1.0, 0), ("b", 60, 1.0, 0), ("a", 60, 0.0, 0), ("alone", 55, 1.0, 0))
        )
        found = [await stores.rows.nth_outcome(MODEL, "1", 0, 100, n) for n in (1, 2, 3, 4)]
        assert [one and one.event_id for one in found] == ["event-c-0", "event-a-0", "event-b-0", None]
        assert await stores.rows.nth_outcome(MODEL, "1", 50, 59, 1) is None
        last = await stores.rows.last_outcome(MODEL, 0, 100)
        assert last is not None
        assert (last.event_id, last.arrived_us) == ("event-b-0", 60)

    async def test_rows_are_forgotten_by_event_time_alone_sooner_than_in_pairs(self, stores: Stores) -> None:
        rows = [(key, "1", "champion", time, time, 0.5) for key, time in [("pair", 10), ("alone", 10), ("new", 90)]]
        await stores.rows.add_predictions(MODEL, predictions(*rows))
        await stores.rows.add_outcomes(
            MODEL, outcomes(("pair", 20, 1.0, 0), ("orphan", 20, 1.0, 0), ("pair", 21, 0.0, 1))
        )
        gone = await stores.rows.evict(MODEL, 50, 5, 1_000)
        assert gone == {"predictions_without_outcome": 1, "outcomes_without_prediction": 1}
        assert len(await stores.rows.joined(MODEL, ["1"], 0, 99)) == 1
        assert (await stores.rows.evict(MODEL, 50, 50, 1_000))["predictions_judged"] == 1
        assert (await stores.rows.coverage(MODEL, "1", 0, 100, 100)).predictions == 1

    async def test_a_pair_is_forgotten_together(self, stores: Stores) -> None:
        await stores.rows.add_predictions(MODEL, predictions(("a", "1", "champion", 10, 10, 0.5)))
        await stores.rows.add_outcomes(MODEL, outcomes(("a", 60, 1.0, 0)))
        assert await stores.rows.evict(MODEL, 50, 50, 1_000) == {}
        assert await stores.rows.evict(MODEL, 70, 70, 1_000) == {"predictions_judged": 1, "outcomes_judged": 1}

    async def test_coverage_says_how_much_of_the_truth_had_come_by_then(self, stores: Stores) -> None:
        await stores.rows.add_predictions(
            MODEL, predictions(*[(f"{i}", "1", "champion", i, i, 0.5) for i in range(1, 21)])
        )
        await stores.rows.add_outcomes(MODEL, outcomes(*[(f"{i}", 2 * i, 1.0, 0) for i in range(1, 11)]))
        found = await stores.rows.coverage(MODEL, "1", 0, 20, 16)
        assert (found.predictions, found.labelled, found.delay_p50_us, found.delay_p95_us) == (20, 8, 4, 8)
        nothing = await stores.rows.coverage(MODEL, "2", 0, 20, 16)
        assert (nothing.predictions, nothing.delay_p50_us) == (0, None)

    async def test_a_state_is_found_as_it_was_put(self, stores: Stores) -> None:
        assert await stores.states.lock([MODEL]) == {}
        assert await stores.states.lock_or_make(MODEL) == ModelState(MODEL)
        incident = Incident("i", "loss", "brier", "1", "critical", 7, Link("e", 7, "c"))
        state = ModelState(MODEL, revision=3, clocks=Clocks({"late": 5}, {"late": 4}, 4), incidents=(incident,))
        await stores.states.put(state)
        assert await stores.states.lock([MODEL, "other"]) == {MODEL: state}

    async def test_documents_are_found_whole(self, stores: Stores) -> None:
        event = deployed(1, served("1", 0, loss_to_hold()), 0)
        assert await stores.documents.deployment(MODEL) is None
        await stores.documents.put_deployment(event)
        assert await stores.documents.deployment(MODEL) == event
        newer = deployed(2, None, 1)
        await stores.documents.put_deployment(newer)
        assert await stores.documents.deployment(MODEL) == newer

    async def test_commands_wait_until_they_are_dropped(self, stores: Stores) -> None:
        asked = command(until_days=3)
        await stores.documents.put_command(asked)
        await stores.documents.put_command(asked)
        assert await stores.documents.waiting_commands() == [asked]
        assert await stores.documents.waiting_commands("other") == []
        await stores.documents.drop_command(asked.id)
        assert await stores.documents.waiting_commands(MODEL) == []

    async def test_blocks_belong_to_a_version_and_tallies_add_up(self, stores: Stores) -> None:
        block = Block(rows=3, nulls={"x": 1})
        await stores.blocks.put(MODEL, MODEL, "1", block, b"state")
        kept = await stores.blocks.get(MODEL, MODEL, "1")
        assert kept is not None
        assert (kept.block, kept.checks) == (block, b"state")
        assert await stores.blocks.get(MODEL, MODEL, "2") is None
        await stores.tallies.add(MODEL, "1", 10, {"x": [1, 2]})
        await stores.tallies.add(MODEL, "1", 10, {"x": [1, 0], "y": [4]})
        await stores.tallies.add(MODEL, "1", 20, {"x": [0, 5]})
        assert await stores.tallies.summed(MODEL, "1", 0, 10) == {"x": [2, 2], "y": [4]}
        assert await stores.tallies.summed(MODEL, "1", 10, 20) == {"x": [0, 5]}
        await stores.tallies.evict(MODEL, 10)
        assert await stores.tallies.summed(MODEL, "1", 0, 10) == {}

    async def test_what_is_not_wanted_twice_is_wanted_once(self, stores: Stores) -> None:
        cause = Cause("e", at(0), "c")
        await stores.references.want("sha256:r", cause)
        await stores.references.want("sha256:r", cause)
        await stores.references.put("sha256:r", "{}")
        await stores.references.put("sha256:r", "{}")

    async def test_a_look_is_quick_although_the_first_ones_saw_small_tables(self, stores: Stores) -> None:
        few, many = 300, 6_000
        await pair_up(stores.rows, range(few))
        for _ in range(8):
            await stores.rows.joined(MODEL, ["1"], 0, many)
            assert await stores.rows.nth_outcome(MODEL, "1", 0, many, many) is None
        await pair_up(stores.rows, range(few, many))
        # The plan of before reads every prediction for every outcome: its deadline of two seconds passes.
        assert len((await stores.rows.joined(MODEL, ["1"], 0, many)).prediction_ids) == many
        nth = await stores.rows.nth_outcome(MODEL, "1", 0, many, many)
        assert nth is not None
        assert nth.arrived_us == many


class TestMemory(StoresContract):
    """In memory."""

    @pytest.fixture
    def stores(self) -> Stores:
        store: dict[Any, Any] = {}
        return Stores(
            MemoryRows(store), MemoryStates(store), MemoryDocuments(store), MemoryPositions({}), MemoryBlocks(store),
            MemoryTallies(store), MemoryReferences(store, Shelf()),
        )  # fmt: skip


@pytest.mark.stack
class TestPostgres(StoresContract):
    """In a real Postgres."""

    @pytest.fixture
    async def stores(self, service_database: Callable[[str], str]) -> AsyncIterator[Stores]:
        url = await asyncio.to_thread(service_database, "monitor")
        database = await open_database(plain_url(url))
        async with PostgresLedger(database, "monitor").transaction() as tx:
            connection = tx.connection
            yield Stores(
                PostgresRows(connection), PostgresStates(connection), PostgresDocuments(connection),
                PostgresPositions(connection, "monitor"), PostgresBlocks(connection), PostgresTallies(connection),
                PostgresReferences(connection, Jobs(tx), Shelf()),
            )  # fmt: skip
        await database.close()
