"""What every ledger owes, as tests. A subclass says how to open one, and how effects are written and read."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from driftloop_bus.errors import Fenced
from driftloop_bus.ports import Ledger, Outgoing, Transaction
from driftloop_bus.testing.waiting import raised


class Broke(Exception):
    """A handler's bug."""


def outgoing(*names: str, topic: str = "drift.v1") -> list[Outgoing]:
    """Records that differ."""
    return [Outgoing(topic, b"k", name.encode(), (("ce_id", name.encode()),)) for name in names]


async def waiting(ledger: Ledger) -> list[str]:
    """Values of the outbox that nobody acked, in the order in which they go out."""
    async with ledger.outbox.lease() as lease:
        assert lease is not None
        return [row.record.value.decode() for row in await lease.unpublished(1000)]


class LedgerContract:
    """Subclass it, implement the three openers, and its tests are yours."""

    async def open_ledger(self) -> Ledger:
        """An empty ledger."""
        raise NotImplementedError

    async def write_effect(self, tx: Transaction, name: str) -> None:
        """One effect through the transaction's connection."""
        raise NotImplementedError

    async def effects(self, ledger: Ledger) -> Sequence[str]:
        """Names of the committed effects, in order of name."""
        raise NotImplementedError

    async def test_a_new_partition_begins_at_zero_and_each_claim_raises_its_epoch(self) -> None:
        ledger = await self.open_ledger()
        first, second = await ledger.claim("t", 0), await ledger.claim("t", 0)
        assert (first.epoch, first.next_offset) == (1, 0)
        assert (second.epoch, second.next_offset) == (2, 0)
        assert (await ledger.claim("t", 1)).epoch == 1

    async def test_effects_inbox_outbox_and_offset_are_committed_together(self) -> None:
        ledger = await self.open_ledger()
        claim = await ledger.claim("t", 0)
        async with ledger.batch(claim, 0, 7) as tx:
            assert await tx.unseen(["a", "b"]) == [True, True]
            await self.write_effect(tx, "one")
            await tx.publish(outgoing("x", "y"))
        assert list(await self.effects(ledger)) == ["one"]
        assert await waiting(ledger) == ["x", "y"]
        assert (await ledger.current(claim)).next_offset == 7
        assert (await ledger.claim("t", 0)).next_offset == 7

    async def test_nothing_is_left_of_a_batch_that_failed(self) -> None:
        ledger = await self.open_ledger()
        claim = await ledger.claim("t", 0)
        await raised(Broke, self._broken(ledger.batch(claim, 0, 7), "one"))
        assert (list(await self.effects(ledger)), await waiting(ledger)) == ([], [])
        assert (await ledger.current(claim)).next_offset == 0
        async with ledger.batch(claim, 0, 7) as tx:
            assert await tx.unseen(["a"]) == [True]

    async def test_a_batch_that_does_not_begin_where_the_last_ended_is_fenced(self) -> None:
        ledger = await self.open_ledger()
        claim = await ledger.claim("t", 0)
        async with ledger.batch(claim, 0, 5):
            pass
        await raised(Fenced, self._written(ledger.batch(claim, 0, 5), "twice"))
        assert list(await self.effects(ledger)) == []

    async def test_an_earlier_claim_is_fenced(self) -> None:
        ledger = await self.open_ledger()
        zombie = await ledger.claim("t", 0)
        owner = await ledger.claim("t", 0)
        await raised(Fenced, self._written(ledger.batch(zombie, 0, 5), "zombie"))
        await raised(Fenced, ledger.current(zombie))
        await self._written(ledger.batch(owner, 0, 5), "owner")
        assert list(await self.effects(ledger)) == ["owner"]

    async def test_owners_that_never_went_on_are_counted_until_one_does_or_lets_go(self) -> None:
        ledger = await self.open_ledger()
        claims = [await ledger.claim("t", 0) for _ in range(3)]
        assert [claim.claims for claim in claims] == [1, 2, 3]
        await ledger.release(claims[0])
        assert (await ledger.claim("t", 0)).claims == 4
        owner = await ledger.claim("t", 0)
        await ledger.release(owner)
        owner = await ledger.claim("t", 0)
        assert owner.claims == 1
        await self._written(ledger.batch(owner, 0, 5), "on")
        assert (await ledger.claim("t", 0)).claims == 1

    async def test_a_record_that_was_begun_alone_and_never_ended_is_remembered(self) -> None:
        ledger = await self.open_ledger()
        first = await ledger.claim("t", 0)
        assert first.deaths == 0
        await ledger.begin_alone(first)
        second = await ledger.claim("t", 0)
        assert second.deaths == 1
        await raised(Fenced, ledger.begin_alone(first))
        await ledger.begin_alone(second)
        await ledger.begin_alone(second)
        third = await ledger.claim("t", 0)
        assert third.deaths == 2
        await self._written(ledger.batch(third, 0, 1), "passed by")
        assert (await ledger.claim("t", 0)).deaths == 0

    async def test_whoever_lets_go_alive_forgets_what_was_begun(self) -> None:
        ledger = await self.open_ledger()
        owner = await ledger.claim("t", 0)
        await ledger.begin_alone(owner)
        await ledger.release(owner)
        assert (await ledger.claim("t", 0)).deaths == 0

    async def test_an_id_is_new_once(self) -> None:
        ledger = await self.open_ledger()
        claim = await ledger.claim("t", 0)
        async with ledger.batch(claim, 0, 5) as tx:
            assert await tx.unseen(["a", "b", "a"]) == [True, True, False]
            assert await tx.unseen(["b", "c"]) == [False, True]
            assert await tx.unseen([]) == []
        async with ledger.batch(claim, 5, 9) as tx:
            assert await tx.unseen(["c", "d"]) == [False, True]

    async def test_a_savepoint_undoes_effects_inbox_and_outbox_and_nothing_else(self) -> None:
        ledger = await self.open_ledger()
        claim = await ledger.claim("t", 0)
        async with ledger.batch(claim, 0, 5) as tx:
            await self.write_effect(tx, "before")
            await tx.publish(outgoing("before"))
            await raised(Broke, self._broken_inside(tx, "inside"))
            assert await tx.unseen(["a"]) == [True]
            async with tx.savepoint():
                await self.write_effect(tx, "good")
            await tx.publish(outgoing("after"))
        assert list(await self.effects(ledger)) == ["before", "good"]
        assert await waiting(ledger) == ["before", "after"]

    async def test_savepoints_nest(self) -> None:
        ledger = await self.open_ledger()
        async with ledger.transaction() as tx, tx.savepoint():
            await self.write_effect(tx, "outer")
            await raised(Broke, self._broken_inside(tx, "inner"))
        assert list(await self.effects(ledger)) == ["outer"]

    async def test_a_transaction_without_offsets_commits_or_undoes(self) -> None:
        ledger = await self.open_ledger()
        async with ledger.transaction() as tx:
            await self.write_effect(tx, "one")
            await tx.publish(outgoing("x"))
        await raised(Broke, self._broken(ledger.transaction(), "two"))
        assert (list(await self.effects(ledger)), await waiting(ledger)) == (["one"], ["x"])

    async def test_the_outbox_gives_the_oldest_first_until_they_are_acked(self) -> None:
        ledger = await self.open_ledger()
        for name in ("a", "b", "c"):
            async with ledger.transaction() as tx:
                await tx.publish(outgoing(name, topic="runs.v1" if name == "b" else "drift.v1"))
        assert await ledger.outbox.pending() == 3
        async with ledger.outbox.lease() as lease:
            assert lease is not None
            first, second = await lease.unpublished(2)
            assert [first.record.value, second.record.value] == [b"a", b"b"]
            assert first.record == outgoing("a")[0]
            assert [row.record.value for row in await lease.unpublished(9, without=["runs.v1"])] == [b"a", b"c"]
            await lease.published([first.id, second.id], [(0, 4), (0, 0)])
            assert [row.record.value for row in await lease.unpublished(9)] == [b"c"]
        assert await ledger.outbox.pending() == 1

    async def test_a_chosen_partition_and_an_absent_key_survive_the_outbox(self) -> None:
        ledger = await self.open_ledger()
        record = Outgoing("drift.v1", None, b"\x00\xff", (("h", b"\xff"), ("h", b"2")), partition=0)
        async with ledger.transaction() as tx:
            await tx.publish([record])
        async with ledger.outbox.lease() as lease:
            assert lease is not None
            assert [row.record for row in await lease.unpublished(9)] == [record]

    async def test_what_the_log_lost_goes_out_again(self) -> None:
        ledger = await self.open_ledger()
        async with ledger.transaction() as tx:
            await tx.publish(outgoing("a"))
            await tx.publish(outgoing("b", "c"))
        async with ledger.outbox.lease() as lease:
            assert lease is not None
            rows = await lease.unpublished(9)
            await lease.published([row.id for row in rows], [(0, 0), (0, 1), (0, 2)])
            assert await lease.recall({("drift.v1", 0): 3}) == 0
            assert await lease.recall({("drift.v1", 0): 1}) == 2
            assert [row.record.value for row in await lease.unpublished(9)] == [b"b", b"c"]

    async def test_one_instance_relays_at_a_time(self) -> None:
        ledger = await self.open_ledger()
        async with ledger.outbox.lease() as mine:
            assert mine is not None
            async with ledger.outbox.lease() as other:
                assert other is None
        async with ledger.outbox.lease() as again:
            assert again is not None

    async def test_what_a_transaction_sees_is_its_own(self) -> None:
        ledger = await self.open_ledger()
        async with ledger.transaction() as tx:
            connection: Any = tx.connection
            assert connection is not None

    async def _written(self, opened: AbstractAsyncContextManager[Transaction], name: str) -> None:
        async with opened as tx:
            await self.write_effect(tx, name)

    async def _broken(self, opened: AbstractAsyncContextManager[Transaction], name: str) -> None:
        async with opened as tx:
            await self._changed(tx, name)
            raise Broke

    async def _broken_inside(self, tx: Transaction, name: str) -> None:
        async with tx.savepoint():
            await self._changed(tx, name)
            raise Broke

    async def _changed(self, tx: Transaction, name: str) -> None:
        await tx.unseen(["a"])
        await self.write_effect(tx, name)
        await tx.publish(outgoing(name))
