"""A process around the runner that goes on only when it is told to, and dies or stands still where it is told to."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from driftloop_bus.ports import Assigned, Claim, Slice, Transaction
from driftloop_bus.runner import Runner, on
from driftloop_bus.testing import MemoryLedger, MemoryLog
from driftloop_contracts import AnyEvent, Event, caused
from driftloop_contracts.control_plane import CommandGiven, CommandRefused

Where = Literal["nowhere", "in_handler", "before_commit", "after_commit"]


class Death(BaseException):
    """The process ends here: nothing that runs catches it."""


class AtOnce(random.Random):
    """Whoever backs off comes back at once."""

    def uniform(self, a: float, b: float) -> float:
        return 0.0


@dataclass
class Fate:
    """Where one process stands, and where it dies."""

    dies: Where = "nowhere"
    records: int = 500
    stands: bool = False
    """Whether it was stopped in the middle of a round."""
    consumer: Any = None
    go: asyncio.Event = field(default_factory=asyncio.Event)
    awake: asyncio.Event = field(default_factory=asyncio.Event)
    still: asyncio.Event = field(default_factory=asyncio.Event)

    def here(self, place: Where) -> None:
        """It dies here if it is to."""
        if self.dies == place:
            raise Death(place)

    async def gate(self) -> None:
        """It waits for its next round."""
        self.still.set()
        await self.go.wait()
        self.go.clear()

    async def asleep(self) -> None:
        """It stands still here while it is stopped, as after SIGSTOP."""
        if not self.awake.is_set():
            self.stands = True
            self.still.set()
            await self.awake.wait()
            self.stands = False


class Mortal:
    """A ledger, as one process sees it that can die around each commit."""

    def __init__(self, ledger: MemoryLedger, fate: Fate) -> None:
        self._ledger, self._fate = ledger, fate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    @asynccontextmanager
    async def batch(self, claim: Claim, start: int, end: int) -> AsyncIterator[Transaction]:
        await self._fate.asleep()
        async with self._ledger.batch(claim, start, end) as tx:
            yield tx
            self._fate.here("before_commit")
        self._fate.here("after_commit")


class GatedLog:
    """A log, as one process sees it that polls only when it is told to."""

    def __init__(self, log: MemoryLog, fate: Fate) -> None:
        self._log, self._fate = log, fate

    async def consumer(self, topics: Sequence[str], group: str | None, taken: Assigned, gone: Assigned) -> Any:
        self._fate.consumer = await self._log.consumer(topics, group, taken, gone)
        return _Gated(self._fate.consumer, self._fate)


class _Gated:
    def __init__(self, consumer: Any, fate: Fate) -> None:
        self._consumer, self._fate = consumer, fate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)

    async def poll(self, max_records: int, wait_ms: int) -> list[Slice]:
        await self._fate.gate()
        found: list[Slice] = await self._consumer.poll(self._fate.records, 0)
        return found


class Clerk:
    """A toy: hears commands in order and answers each."""

    def __init__(self, tx: Transaction, fate: Fate) -> None:
        self.store, self.fate = tx.connection, fate

    async def on_command(self, event: Event[CommandGiven]) -> list[AnyEvent]:
        heard = self.store.setdefault(event.data.model, [])
        heard.append(event.id)
        self.fate.here("in_handler")
        answer = CommandRefused(model=event.data.model, command=event.data.command, reason=event.data.reason)
        return [caused(answer, event.as_cause())]


class Process:
    """One member of the group."""

    def __init__(self, log: MemoryLog, ledger: MemoryLedger, start: Callable[[Any], asyncio.Task[None]]) -> None:
        self.fate = Fate()
        self.fate.awake.set()
        runner: Runner[Clerk] = Runner(
            "registry", "registry", GatedLog(log, self.fate), Mortal(ledger, self.fate),  # type: ignore[arg-type]  # a part of each
            lambda tx: Clerk(tx, self.fate), [on(CommandGiven, Clerk.on_command)], rejoin_after_s=0.0, chance=AtOnce(),
        )  # fmt: skip
        self.task = start(runner.run())

    @property
    def dead(self) -> bool:
        """It has ended."""
        return self.task.done()

    async def round(self, records: int = 500) -> None:
        """It polls once and does what there is to do, or dies of it, or stands still in the middle."""
        if self.fate.stands:
            return
        self.fate.records = records
        if not self.fate.still.is_set():
            await self._settled()
        self.fate.still.clear()
        self.fate.go.set()
        await self._settled()

    async def woken(self) -> None:
        """It goes on in the middle of where it was stopped."""
        stood = self.fate.stands
        self.fate.awake.set()
        if stood:
            self.fate.still.clear()
            await self._settled()

    async def killed(self) -> None:
        """It is gone, wherever it stood."""
        self.task.cancel()
        await asyncio.wait({self.task})

    async def _settled(self) -> None:
        still = asyncio.create_task(self.fate.still.wait())
        await asyncio.wait({self.task, still}, return_when=asyncio.FIRST_COMPLETED)
        still.cancel()
