"""The ledger on a real Postgres: what commits together, and who is fenced."""

from __future__ import annotations

import asyncio

import pytest

from driftloop_bus.errors import Fenced, TryAgain
from driftloop_bus.ports import Claim, Outgoing, Transaction
from driftloop_kit.database import Database
from driftloop_kit.ledger import PostgresLedger
from driftloop_local.stack import LocalStack


def record(number: int, key: bytes = b"flights") -> Outgoing:
    return Outgoing("drift.v1", key, b"%d" % number, (("ce_id", b"id-%d" % number), ("odd", b"\xff\x00")))


async def waiting(ledger: PostgresLedger, limit: int = 100) -> list[bytes]:
    async with ledger.outbox.lease() as lease:
        assert lease is not None
        return [row.record.value for row in await lease.unpublished(limit)]


async def test_nothing_commits_when_the_block_raises(ledger: PostgresLedger) -> None:
    claim = await ledger.claim("outcomes.v1", 0)

    async def fail() -> None:
        async with ledger.batch(claim, 0, 7) as tx:
            await tx.unseen(["a"])
            await tx.publish([record(1)])
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert (await ledger.current(claim)).next_offset == 0
    assert await waiting(ledger) == []
    assert ledger.pending == 0
    async with ledger.batch(claim, 0, 7) as tx:
        assert await tx.unseen(["a"]) == [True]


async def test_a_zombie_cannot_write_after_another_claimed(database: Database, ledger: PostgresLedger) -> None:
    zombie = await ledger.claim("outcomes.v1", 0)
    owner = await PostgresLedger(database, "kit").claim("outcomes.v1", 0)
    with pytest.raises(Fenced):
        async with ledger.batch(zombie, 0, 7) as tx:
            await tx.publish([record(1)])
    with pytest.raises(Fenced):
        await ledger.current(zombie)
    async with ledger.batch(owner, 0, 7):
        pass
    assert await waiting(ledger) == []


async def test_a_batch_that_was_read_elsewhere_is_fenced(ledger: PostgresLedger) -> None:
    claim = await ledger.claim("outcomes.v1", 0)
    async with ledger.batch(claim, 0, 7):
        pass
    with pytest.raises(Fenced) as fenced:
        async with ledger.batch(claim, 0, 7):
            pass
    assert fenced.value.facts["next_offset"] == 7


async def test_a_savepoint_undoes_only_itself(ledger: PostgresLedger) -> None:
    async def fail(tx: Transaction) -> None:
        async with tx.savepoint():
            await tx.publish([record(2)])
            raise LookupError

    await ledger.outbox.pending()
    async with ledger.transaction() as tx:
        await tx.publish([record(1)])
        with pytest.raises(LookupError):
            await fail(tx)
        await tx.publish([record(3)])
        assert ledger.pending == 2
    assert await waiting(ledger) == [b"1", b"3"]


async def test_a_keys_records_wait_in_commit_order(ledger: PostgresLedger) -> None:
    """Two transactions write one key: whichever commits first also has the lower id."""

    async def write(number: int) -> None:
        async with ledger.transaction() as tx:
            await tx.publish([record(number)])
            await asyncio.sleep(0.01 if number % 2 else 0)
            committed.append(b"%d" % number)

    committed: list[bytes] = []
    await asyncio.gather(*(write(number) for number in range(6)))
    assert await waiting(ledger) == committed


async def test_pending_counts_a_row_from_before_its_commit_until_its_ack(ledger: PostgresLedger) -> None:
    assert glance(ledger) is None
    assert await waiting(ledger) == []
    assert ledger.pending == 0
    async with ledger.transaction() as tx:
        await tx.publish([record(1)])
        assert ledger.pending == 1
        assert await ledger.outbox.pending() == 0
        assert ledger.pending == 1
    async with ledger.outbox.lease() as lease:
        assert lease is not None
        rows = await lease.unpublished(10)
        assert ledger.pending == 1
        await lease.published([row.id for row in rows], [(0, 0)])
    assert ledger.pending == 0
    assert await ledger.outbox.pending() == 0


async def test_a_stopped_owner_does_not_keep_its_successor_waiting_for_ever(
    database: Database, ledger: PostgresLedger
) -> None:
    """Its idle transaction is ended by the server; the owner learns it as something that passes."""
    claim = await ledger.claim("outcomes.v1", 0)

    async def stop_within() -> None:
        async with ledger.batch(claim, 0, 7) as tx:
            await tx.connection.execute("SET LOCAL idle_in_transaction_session_timeout = '50ms'")
            await asyncio.sleep(0.3)

    with pytest.raises(TryAgain):
        await stop_within()
    successor = await PostgresLedger(database, "kit").claim("outcomes.v1", 0)
    assert successor.next_offset == 0


async def test_the_ledger_says_try_again_while_postgres_restarts_and_works_after(
    stack: LocalStack, ledger: PostgresLedger
) -> None:
    claim = await ledger.claim("outcomes.v1", 0)
    stack.kill("postgres")
    failures: list[str] = []
    async with asyncio.timeout(60):
        while not await written(ledger, claim, failures):  # noqa: ASYNC110  # nobody signals that Postgres is back
            await asyncio.sleep(0.05)
    assert failures
    assert (await ledger.current(claim)).next_offset == 7


def glance(ledger: PostgresLedger) -> int | None:
    return ledger.pending


async def written(ledger: PostgresLedger, claim: Claim, failures: list[str]) -> bool:
    try:
        async with ledger.batch(claim, 0, 7):
            pass
    except TryAgain as error:
        failures.append(error.message)
        return False
    return True
