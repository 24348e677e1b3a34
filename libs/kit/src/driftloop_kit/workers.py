"""Runs leased jobs outside any transaction, and ends each in one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from driftloop_bus.errors import TryAgain
from driftloop_bus.ports import Transaction
from driftloop_bus.routes import Follows
from driftloop_kit import leases
from driftloop_kit.jobs import Done, Failed, JobEnd, JobFailed, JobKind
from driftloop_kit.leases import Leased
from driftloop_kit.service import Context, as_records
from driftloop_kit.telemetry import Telemetry

if TYPE_CHECKING:
    from driftloop_kit.ledger import PostgresLedger, PostgresTransaction

H = TypeVar("H")
R = TypeVar("R")
# Jobs of other instances, and leases that ran out, are found by looking.
LOOK_S: Final = 1.0
# A job that waits for something lets others go first.
WAIT_S: Final = (0.2, 1.0)
# How long a result is held while Postgres is away. Then the job runs again.
HOLD_RESULT_S: Final = 600.0


class Workers(Generic[H]):
    """The workers of one service: `parallel` for each kind."""

    def __init__(
        self,
        context: Context[H],
        ledger: PostgresLedger,
        handlers: Callable[[Transaction], H],
        kinds: Sequence[JobKind[H]],
        telemetry: Telemetry,
    ) -> None:
        self._context = context
        self._ledger = ledger
        self._handlers = handlers
        self._kinds = kinds
        self._telemetry = telemetry
        self._wake = asyncio.Event()
        self._stopping = False

    def wake(self) -> None:
        """Jobs may wait: look now."""
        self._wake.set()

    def stop(self) -> None:
        """No further job is leased; `run` returns when those that run have ended. Cancel it to give them back."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Leases and runs jobs until stopped."""
        async with asyncio.TaskGroup() as group:
            for kind in self._kinds:
                for _ in range(kind.parallel):
                    group.create_task(self._work(kind))

    async def _work(self, kind: JobKind[H]) -> None:
        while not self._stopping:
            try:
                leased = await self._take(kind)
            except TryAgain as error:
                self._telemetry.job("tried_again", kind.kind, reason=error.message)
                leased = None
            if leased is None:
                await self._rest()
            elif leased.job.attempt > kind.attempts:
                await self._end(kind, leased, Failed(f"no attempt of {kind.attempts} came to its end", "crashed"))
            else:
                await self._attempt(kind, leased)

    async def _rest(self) -> None:
        self._wake.clear()
        if self._stopping:
            return
        try:
            async with asyncio.timeout(LOOK_S):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _take(self, kind: JobKind[H]) -> Leased | None:
        async with self._ledger.transaction() as tx:
            leased = await leases.take(tx.connection, kind.kind, kind.lease_s)
            if leased and kind.started and leased.job.attempt <= kind.attempts:
                await self._publish(tx, await kind.started(self._handlers(tx), leased.job))
        return leased

    async def _attempt(self, kind: JobKind[H], leased: Leased) -> None:
        run = asyncio.ensure_future(kind.run(self._context, leased.job))
        lost = asyncio.create_task(self._until_lost(kind, leased))
        try:
            await asyncio.wait({run, lost}, return_when=asyncio.FIRST_COMPLETED)
            if not run.done():
                self._telemetry.job("lost", kind.kind, job=leased.job.id)
                return
            await self._conclude(kind, leased, run)
        except asyncio.CancelledError:
            await cancelled(run)
            await self._give_back(leased, 0.0, counts=False)
            raise
        finally:
            await cancelled(run)
            await cancelled(lost)

    async def _until_lost(self, kind: JobKind[H], leased: Leased) -> None:
        while True:
            await asyncio.sleep(kind.lease_s / 3)
            try:
                async with self._ledger.transaction() as tx:
                    if not await leases.renew(tx.connection, leased, kind.lease_s):
                        return
            except TryAgain as error:
                # Nobody else can lease it either; if somebody does later, `hold` fences our end.
                self._telemetry.job("tried_again", kind.kind, job=leased.job.id, reason=error.message)

    async def _conclude(self, kind: JobKind[H], leased: Leased, run: asyncio.Future[object]) -> None:
        error = run.exception()
        match error:
            case None:
                await self._end(kind, leased, Done(run.result()))
            case JobFailed():
                await self._end(kind, leased, Failed(error.reason, error.kind))
            case TryAgain():
                self._telemetry.job("waits", kind.kind, job=leased.job.id, reason=error.message)
                await self._give_back(leased, random.uniform(*WAIT_S), counts=False)
            case _ if leased.job.attempt < kind.attempts:
                self._telemetry.job("bug", kind.kind, job=leased.job.id, error=error)
                await self._give_back(leased, random.uniform(*WAIT_S), counts=True)
            case _:
                self._telemetry.job("bug", kind.kind, job=leased.job.id, error=error)
                await self._end(kind, leased, Failed(f"{type(error).__name__}: {error}", "raised"))

    async def _end(self, kind: JobKind[H], leased: Leased, how: JobEnd) -> None:
        """The end is handled once; where handling is a bug the job ends as failed, and at worst without being handled."""
        for said in (how, Failed("its end could not be handled", "raised"), None):
            ending = await settled(self._persist(partial(self._end_once, kind, leased, said, said or how)))
            error = ending.exception()
            if error is None:
                self._telemetry.job("ended" if ending.result() else "lost", kind.kind, job=leased.job.id)
                return
            self._telemetry.job("bug", kind.kind, job=leased.job.id, error=error)

    async def _end_once(self, kind: JobKind[H], leased: Leased, said: JobEnd | None, how: JobEnd) -> bool:
        async with self._ledger.transaction() as tx:
            if not await leases.hold(tx.connection, leased):
                return False
            if kind.ended and said:
                await self._publish(tx, await kind.ended(self._handlers(tx), leased.job, said))
            await leases.end(tx.connection, leased, how)
        return True

    async def _give_back(self, leased: Leased, after_s: float, *, counts: bool) -> None:
        try:
            async with self._ledger.transaction() as tx:
                await leases.give_back(tx.connection, leased, after_s, counts=counts)
        except TryAgain as error:
            # The lease runs out by itself.
            self._telemetry.job("tried_again", leased.job.kind, job=leased.job.id, reason=error.message)

    async def _persist(self, act: Callable[[], Awaitable[bool]]) -> bool:
        deadline = asyncio.get_running_loop().time() + HOLD_RESULT_S
        while asyncio.get_running_loop().time() < deadline:
            try:
                return await act()
            except TryAgain as error:
                self._telemetry.job("tried_again", "", reason=error.message)
                await asyncio.sleep(random.uniform(*WAIT_S))
        return False

    async def _publish(self, tx: PostgresTransaction, follows: Follows) -> None:
        await tx.publish(as_records(follows, self._context.name))


async def settled(work: Awaitable[R]) -> asyncio.Future[R]:
    """The work has ended: the future holds what it returned or raised. It is cancelled with its caller."""
    future = asyncio.ensure_future(work)
    try:
        await asyncio.wait({future})
    finally:
        future.cancel()
    return future


async def cancelled(future: asyncio.Future[R]) -> None:
    """The work has ended, whatever it said to it."""
    future.cancel()
    await asyncio.wait({future})
    if not future.cancelled():
        future.exception()
