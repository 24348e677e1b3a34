from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import pytest

from driftloop_bus.errors import TryAgain
from driftloop_bus.ports import Ledger, Log, Outgoing, Transaction
from driftloop_bus.testing import LedgerContract, LogContract, MemoryLedger, MemoryLog
from driftloop_bus.testing.waiting import raised

_NUMBERS = count()


class TestMemoryLog(LogContract):
    @pytest.fixture(autouse=True)
    def _one_log(self) -> None:
        self.log = MemoryLog(topics={})

    async def open_log(self) -> Log:
        return self.log

    async def new_topic(self, partitions: int) -> str:
        name = f"topic-{next(_NUMBERS)}"
        self.log.create(name, partitions)
        return name

    def new_group(self) -> str:
        return f"group-{next(_NUMBERS)}"


class TestMemoryLedger(LedgerContract):
    async def open_ledger(self) -> Ledger:
        return MemoryLedger()

    async def write_effect(self, tx: Transaction, name: str) -> None:
        tx.connection[name] = True

    async def effects(self, ledger: Ledger) -> Sequence[str]:
        assert isinstance(ledger, MemoryLedger)
        return sorted(ledger.store)


async def test_a_broker_that_is_away_says_try_again() -> None:
    log = MemoryLog()
    log.away = True
    with pytest.raises(TryAgain):
        await (await log.producer()).send([Outgoing("drift.v1", b"k", b"x")])
    with pytest.raises(TryAgain):
        await log.end_offsets(["drift.v1"])


async def test_a_commit_whose_answer_is_lost_happened() -> None:
    ledger = MemoryLedger()
    ledger.lose_next_answers = 1
    with pytest.raises(TryAgain):
        async with ledger.transaction() as tx:
            tx.connection["done"] = True
    assert ledger.store == {"done": True}


async def test_a_database_that_goes_away_commits_nothing() -> None:
    ledger = MemoryLedger()

    async def cut_off() -> None:
        async with ledger.transaction() as tx:
            tx.connection["done"] = True
            ledger.away = True

    await raised(TryAgain, cut_off())
    assert ledger.store == {}
