"""One suite for both stores of requests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from services.retrainer.tests.world import MODEL, deployed, document, requested

from driftloop_kit.database import open_database, plain_url
from driftloop_kit.ledger import PostgresLedger
from driftloop_local.databases import ServiceDatabase
from retrainer.ports import Requests
from retrainer.store import MemoryRequests, PostgresRequests


class RequestsContract:
    """What every implementation owes. A subclass says how to open one."""

    async def test_a_declaration_is_there_after_it_was_put_and_the_last_one_counts(self, requests: Requests) -> None:
        assert await requests.declaration(MODEL) is None
        await requests.put_declaration(document(), "sha256:a")
        await requests.put_declaration(document(entry="samples:boosted"), "sha256:b")
        assert await requests.declaration(MODEL) == (document(entry="samples:boosted"), "sha256:b")
        assert await requests.models() == {MODEL}

    async def test_features_keep_the_order_in_which_they_were_declared(self, requests: Requests) -> None:
        names = ["zeta", "a_very_long_name", "b", "alpha"]
        await requests.put_declaration(
            document(features=dict.fromkeys(names, "number"), segments=[], gate={"slices": []}), "sha256:a"
        )
        kept = await requests.declaration(MODEL)
        assert kept is not None
        assert list(kept[0].features) == names

    async def test_an_older_deployment_never_replaces_a_newer(self, requests: Requests) -> None:
        assert await requests.deployment(MODEL) is None
        for revision, version in ((1, None), (3, "2"), (2, "1"), (3, "9")):
            await requests.put_deployment(deployed(revision, version).data)
        assert await requests.deployment(MODEL) == deployed(3, "2").data

    async def test_a_request_is_kept_once_and_whole(self, requests: Requests) -> None:
        request = requested(incident="i", version="3")
        assert await requests.add(request)
        assert not await requests.add(request)
        kept = await requests.get(request.id)
        assert kept is not None
        assert (kept[0].data, kept[0].time, kept[0].as_cause()) == (request.data, request.time, request.as_cause())
        assert kept[1] == "waiting"

    async def test_an_unknown_request_is_none(self, requests: Requests) -> None:
        assert await requests.get("nobody's") is None

    async def test_those_that_wait_are_the_models_own_and_come_in_order(self, requests: Requests) -> None:
        for request in (requested("b"), requested("a"), requested("c"), requested("x", model="other")):
            await requests.add(request)
        assert await requests.gathering() == 0
        await requests.move(requested("c").id, "gathering")
        assert await requests.gathering() == 1
        assert [one.id for one in await requests.waiting(MODEL)] == [requested("a").id, requested("b").id]

    async def test_a_request_only_moves_forward(self, requests: Requests) -> None:
        request = requested()
        await requests.add(request)
        seen = []
        for state in ("gathering", "waiting", "training", "gathering", "failed", "trained", "training"):
            await requests.move(request.id, state)
            found = await requests.get(request.id)
            seen.append(found[1] if found else None)
        assert seen == ["gathering", "gathering", "training", "training", "failed", "failed", "failed"]


class TestMemoryRequests(RequestsContract):
    @pytest.fixture
    def requests(self) -> Requests:
        return MemoryRequests()


@pytest.mark.stack
class TestPostgresRequests(RequestsContract):
    @pytest.fixture
    async def requests(self, retrainer_database: ServiceDatabase) -> AsyncIterator[Requests]:
        ledger = PostgresLedger(await open_database(plain_url(retrainer_database.login_url)), "retrainer")
        try:
            async with ledger.transaction() as tx:
                yield PostgresRequests(tx.connection)
                raise RolledBack
        except RolledBack:
            await ledger.close()


class RolledBack(Exception):  # what ends a test's transaction
    """Nothing of the test is kept."""
