"""One suite for both stores of the registry's decisions."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from services.registry.tests.world import DAY, JUNE, MODEL, candidate, judged

from driftloop_contracts.event import AnyEvent, caused, derived_id, first
from driftloop_contracts.loop import DriftDetected, RetrainRequested
from registry.domain.deployment import Champion, Deployment, Previous, Rollout
from registry.handlers.wording import link
from registry.ports import Audit, Chain, Declared, Link, Models, Moved, Sealed, Standing
from registry.store.chain import PostgresAudit, PostgresChain
from registry.store.memory import MemoryAudit, MemoryChain, MemoryModels
from registry.store.models import PostgresModels


@dataclass
class Stores:
    """What one transaction works with."""

    models: Models
    chain: Chain
    audit: Audit


class Undone(Exception):
    """Ends a transaction that must leave nothing."""


Open = Callable[[], AbstractAsyncContextManager[Stores]]


class StoreContract:
    """Says what any store of decisions does; a subclass gives `opened`: each call is one transaction on the same state."""

    async def test_a_document_holds_until_the_next_one_and_keeps_the_order_of_its_features(self, opened: Open) -> None:
        text = '{"features": {"zulu": "number", "alpha": "number"}}'
        async with opened() as store:
            assert await store.models.declared(MODEL) is None
            await store.models.declare(Declared(MODEL, "sha256:1", text, "anna"))
        async with opened() as store:
            await store.models.declare(Declared("other", "sha256:2", text, "bob"))
            assert await store.models.declared(MODEL) == Declared(MODEL, "sha256:1", text, "anna")
            await store.models.declare(Declared(MODEL, "sha256:3", text, "bob", retired=True))
        async with opened() as store:
            assert await store.models.declared(MODEL) == Declared(MODEL, "sha256:3", text, "bob", retired=True)

    async def test_a_deployment_comes_back_as_it_was_put(self, opened: Open) -> None:
        rollout = Rollout("3", JUNE, (JUNE + 7 * DAY, JUNE + 14 * DAY), ("candidate", "judged"))
        whole = Deployment(7, Champion("2", JUNE), rollout, Previous("1", JUNE, JUNE + 28 * DAY), "1", True)
        async with opened() as store:
            assert await store.models.standing(MODEL) == Standing()
            await store.models.stand(MODEL, Standing(whole, "event"))
        async with opened() as store:
            assert await store.models.standing(MODEL) == Standing(whole, "event")
            emptied = Standing(Deployment(8))
            await store.models.stand(MODEL, emptied)
        async with opened() as store:
            assert await store.models.standing(MODEL) == emptied

    async def test_standings_tell_of_every_declared_model_and_of_no_view(self, opened: Open) -> None:
        async with opened() as store:
            for name in ("b", "a", "view/weather"):
                await store.models.declare(Declared(name, "sha256:1", "{}", "anna"))
            await store.models.stand("a", Standing(Deployment(1, Champion("1", JUNE)), "event"))
        async with opened() as store:
            standings = await store.models.standings()
            assert list(standings) == ["a", "b"]
            assert standings["a"].champion_event == "event"
            assert list(await store.models.standings("b")) == ["b"]
            assert await store.models.standings("ghost") == {}

    async def test_numbers_count_up_per_model_and_the_same_candidate_keeps_its_own(self, opened: Open) -> None:
        async with opened() as store:
            assert await store.models.register(candidate("a")) == "1"
            assert await store.models.register(candidate("b")) == "2"
            assert await store.models.register(candidate("a")) == "1"
            assert await store.models.register(candidate("c", model="other")) == "1"

    async def test_a_candidate_comes_back_whole_with_its_features_in_order(self, opened: Open) -> None:
        features = {"zulu": "number", "alpha": "category"}
        async with opened() as store:
            await store.models.register(candidate("a", features=features))
        async with opened() as store:
            found = await store.models.registered(MODEL, {"1", "2", "x", "99999999999999999999"})
            assert list(found) == ["1"]
            assert found["1"].candidate == candidate("a", features=features).data
            assert list(found["1"].candidate.features) == ["zulu", "alpha"]
            assert found["1"].candidate_id == "a"

    async def test_only_aliases_that_moved_are_told(self, opened: Open) -> None:
        async with opened() as store:
            for name in "ab":
                await store.models.register(candidate(name))
            first_move = await store.models.move_aliases(MODEL, {"champion": "1", "challenger": None})
            assert first_move == [Moved("champion", None, "1")]
        async with opened() as store:
            moves = await store.models.move_aliases(MODEL, {"champion": "1", "challenger": "2"})
            assert moves == [Moved("challenger", None, "2")]
            moves = await store.models.move_aliases(MODEL, {"champion": "2", "challenger": None})
            assert moves == [Moved("champion", "1", "2"), Moved("challenger", "2", None)]

    async def test_what_a_failed_transaction_did_is_gone(self, opened: Open) -> None:
        async def fail() -> None:
            async with opened() as store:
                await store.models.register(candidate("a"))
                await store.chain.keep([link(judged("1", 1, JUNE))])
                raise Undone

        with pytest.raises(Undone):
            await fail()
        async with opened() as store:
            assert await store.models.registered(MODEL, {"1"}) == {}
            assert await store.chain.find(judged("1", 1, JUNE).id) is None

    async def test_an_event_is_found_whole_and_kept_once(self, opened: Open) -> None:
        kept = link(judged("1", 1, JUNE))
        async with opened() as store:
            await store.chain.keep([])
            await store.chain.keep([kept, kept])
            await store.chain.keep([replace(kept, data="{}")])
        async with opened() as store:
            assert await store.chain.find(kept.id) == kept
            assert await store.chain.find("unknown") is None

    async def test_why_goes_back_from_cause_to_cause(self, opened: Open) -> None:
        events = chain_of(5)
        async with opened() as store:
            await store.chain.keep([link(event) for event in events])
            assert [found.id for found in await store.chain.why(events[-1].id)] == [e.id for e in reversed(events)]
            assert await store.chain.why("unknown") == []

    async def test_why_goes_from_a_retrain_to_its_incident_where_the_cause_is_an_outcome(self, opened: Open) -> None:
        detected, requested = incident()
        async with opened() as store:
            await store.chain.keep([link(detected), link(requested)])
            assert [found.id for found in await store.chain.why(requested.id)] == [requested.id, detected.id]

    async def test_a_chain_that_runs_in_a_circle_ends(self, opened: Open) -> None:
        one, two = (link(event) for event in chain_of(2))
        async with opened() as store:
            await store.chain.keep([replace(one, causation=two.id), two])
            assert [found.id for found in await store.chain.why(two.id)] == [two.id, one.id]

    async def test_the_log_is_newest_first_and_goes_on_where_it_stopped(self, opened: Open) -> None:
        links = [link(event) for event in chain_of(5)]
        async with opened() as store:
            await store.chain.keep([*links, link(judged("1", 1, JUNE, model="other"))])
            page = await store.chain.log(MODEL, 2)
            assert [found.id for found in page] == [links[4].id, links[3].id]
            rest = await store.chain.log(MODEL, 10, (page[-1].time, page[-1].id))
            assert [found.id for found in rest] == [links[2].id, links[1].id, links[0].id]

    async def test_the_audit_remembers_the_end_of_each_chain(self, opened: Open) -> None:
        async with opened() as store:
            assert await store.audit.last(MODEL) is None
            await store.audit.seal(MODEL, Sealed(1, "sha256:1"), event_id="a", text="{}")
            await store.audit.seal(MODEL, Sealed(2, "sha256:2"), event_id="b", text="{}")
        async with opened() as store:
            assert await store.audit.last(MODEL) == Sealed(2, "sha256:2")
            assert await store.audit.last("other") is None


def chain_of(length: int) -> list[AnyEvent]:
    """Events of which each follows from the one before."""
    events: list[AnyEvent] = [judged("0", 1, JUNE)]
    for number in range(1, length):
        events.append(caused(judged(str(number), 1, JUNE).data, events[-1].as_cause(), time=JUNE + number * DAY))
    return events


def incident() -> tuple[AnyEvent, AnyEvent]:
    """An alarm, and the retrain of the same incident that a later outcome completed."""
    detected = DriftDetected.model_validate(
        {
            "incident": "incident-1", "model": MODEL, "version": "1", "signal": {"kind": "loss", "name": "brier"},
            "kind": "concept_drift", "severity": "critical", "detected_at": JUNE, "delay_samples": 4,
            "evidence": {"detector": "page_hinkley", "semantics": "river", "statistic": 6.0, "threshold": 5.0},
            "onset": {"estimate": JUNE, "since": JUNE, "until": JUNE},
            "recommendation": {"action": "retrain", "reason": "loss"},
        }
    )  # fmt: skip
    requested = RetrainRequested.model_validate(
        {
            "model": MODEL,
            "version": "1",
            "incident": "incident-1",
            "reason": "drift",
            "window": {"until": JUNE + 2 * DAY},
        }
    )
    alarm = replace(first(detected, id=derived_id("outcome-1", "alarm"), time=JUNE), causation="outcome-1")
    asked = first(requested, id=derived_id("outcome-2", "retrain"), time=JUNE + timedelta(days=2))
    return alarm, replace(asked, causation="outcome-2")


class TestMemoryStore(StoreContract):
    """In a dict: a failed transaction gives back the copy."""

    @pytest.fixture
    def opened(self) -> Open:
        state: dict[Any, Any] = {}

        @asynccontextmanager
        async def open_() -> AsyncIterator[Stores]:
            before = deepcopy(state)
            try:
                yield Stores(MemoryModels(state), MemoryChain(state), MemoryAudit(state))
            except Undone:
                state.clear()
                state.update(before)
                raise

        return open_


@pytest.mark.stack
class TestPostgresStore(StoreContract):
    """On the real database, by the migrations that the service ships."""

    @pytest_asyncio.fixture
    async def opened(self, registry_database: str) -> AsyncIterator[Open]:
        pool = await asyncpg.create_pool(registry_database, min_size=1, max_size=2)
        await pool.execute("TRUNCATE declaration, deployment, registered_model, chain, audit CASCADE")

        @asynccontextmanager
        async def open_() -> AsyncIterator[Stores]:
            async with pool.acquire() as db, db.transaction():
                yield Stores(PostgresModels(db), PostgresChain(db), PostgresAudit(db))

        yield open_
        await pool.close()


def test_a_link_names_the_topic_that_its_writer_wrote() -> None:
    from driftloop_contracts.control_plane import CommandRefused

    refusal = first(CommandRefused(model=MODEL, command="retrain", reason="no"), id="r", time=JUNE)
    assert isinstance(link(refusal), Link)
    assert link(replace(refusal, source="/services/monitor")).topic == "retraining.v1"
    assert link(replace(refusal, source="/services/registry")).topic == "registry.v1"
