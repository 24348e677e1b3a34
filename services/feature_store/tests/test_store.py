"""One suite for both stores: the newest reading wins, in whatever order readings arrive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import permutations

import pytest
from services.feature_store.tests.world import MODEL, START, model, view

from driftloop_contracts.documents import ModelDeclaration
from driftloop_kit.ledger import PostgresLedger
from feature_store.domain import Reading
from feature_store.ports import Declarations, Online
from feature_store.store import MemoryDeclarations, MemoryOnline, PostgresDeclarations, PostgresOnline

KEY = ("weather", "EWR")


def reading(
    hours: float = 0, revision: int = 0, event_id: str = "a", wind: float | None = 1.0, entity: str = "EWR"
) -> Reading:
    return Reading("weather", entity, {"wind": wind}, START + timedelta(hours=hours), revision, event_id)


class OnlineContract:
    """What every implementation owes. A subclass says how to open one."""

    async def test_what_was_put_is_there_and_nobody_else(self, online: Online) -> None:
        assert await online.put([reading()]) == [reading()]
        assert await online.get([KEY, ("weather", "JFK")]) == {KEY: reading()}
        assert await online.get([]) == {}

    async def test_a_late_reading_never_overwrites_a_newer_one(self, online: Online) -> None:
        await online.put([reading(2)])
        assert await online.put([reading(1)]) == []
        assert await online.get([KEY]) == {KEY: reading(2)}

    async def test_only_what_became_the_newest_is_told(self, online: Online) -> None:
        await online.put([reading(2)])
        stored = await online.put([reading(1), reading(1, entity="JFK")])
        assert stored == [reading(1, entity="JFK")]

    async def test_a_reading_that_comes_twice_is_told_once(self, online: Online) -> None:
        assert len(await online.put([reading()])) == 1
        assert await online.put([reading()]) == []

    async def test_of_one_time_the_greater_revision_wins_and_then_the_greater_id(self, online: Online) -> None:
        for one in (reading(1, 0, "b"), reading(1, 1, "a"), reading(1, 0, "c"), reading(1, 1, "A")):
            await online.put([one])
        assert (await online.get([KEY]))[KEY] == reading(1, 1, "a")

    async def test_any_order_of_arrival_gives_the_same_table(self, online: Online) -> None:
        readings = [reading(1, 0, "a", 1.0), reading(1, 1, "b", 2.0), reading(0, 5, "c", 3.0), reading(1, 1, "Z", 4.0)]
        for number, order in enumerate(permutations(readings)):
            for one in order:
                await online.put([Reading(one.view, str(number), one.values, one.time, one.revision, one.event_id)])
            kept = (await online.get([("weather", str(number))]))["weather", str(number)]
            assert kept.event_id == "b"

    async def test_values_of_every_kind_come_back_as_they_were(self, online: Online) -> None:
        values = {"wind": 1.5, "gust": None, "sky": "clear ☀\x00", "open": True, "runway": 4}
        await online.put([Reading(*KEY, values, START, 0, "a")])
        assert (await online.get([KEY]))[KEY].values == values


class DeclarationsContract:
    """As above."""

    async def test_the_last_declaration_counts(self, declarations: Declarations) -> None:
        assert await declarations.model(MODEL) is None
        await declarations.put_model(model(), "sha256:a")
        await declarations.put_model(model(), "sha256:b")
        assert await declarations.model(MODEL) == (model(), "sha256:b")

    async def test_features_keep_the_order_in_which_they_were_declared(self, declarations: Declarations) -> None:
        names = ["zeta", "a_very_long_name", "b", "alpha"]
        document = {**model().model_dump(), "features": {name: {"type": "number"} for name in names}}
        await declarations.put_model(ModelDeclaration.model_validate(document), "sha256:a")
        kept = await declarations.model(MODEL)
        assert kept is not None
        assert list(kept[0].features) == names

    async def test_views_are_known_by_their_names(self, declarations: Declarations) -> None:
        await declarations.put_view(view(ttl="1h"))
        await declarations.put_view(view("plane"))
        await declarations.put_view(view(ttl="4h"))
        assert await declarations.views() == {"weather": view(ttl="4h"), "plane": view("plane")}


class TestMemoryOnline(OnlineContract):
    @pytest.fixture
    def online(self) -> Online:
        return MemoryOnline()


class TestMemoryDeclarations(DeclarationsContract):
    @pytest.fixture
    def declarations(self) -> Declarations:
        return MemoryDeclarations()


class RolledBack(Exception):  # what ends a test's transaction
    """Nothing of the test is kept."""


@pytest.mark.stack
class TestPostgresOnline(OnlineContract):
    @pytest.fixture
    async def online(self, ledger: PostgresLedger) -> AsyncIterator[Online]:
        try:
            async with ledger.transaction() as tx:
                yield PostgresOnline(tx.connection)
                raise RolledBack
        except RolledBack:
            return


@pytest.mark.stack
class TestPostgresDeclarations(DeclarationsContract):
    @pytest.fixture
    async def declarations(self, ledger: PostgresLedger) -> AsyncIterator[Declarations]:
        try:
            async with ledger.transaction() as tx:
                yield PostgresDeclarations(tx.connection)
                raise RolledBack
        except RolledBack:
            return
