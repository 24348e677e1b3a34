"""Jobs on a real Postgres: one end each, whatever is lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from driftloop_bus.errors import TryAgain
from driftloop_bus.testing import MemoryLog, eventually
from driftloop_contracts.event import AnyEvent, Cause, caused
from driftloop_contracts.loop import TrainingFailed
from driftloop_kit.health import Health
from driftloop_kit.jobs import Done, Failed, Job, JobEnd, JobFailed, JobKind, Jobs
from driftloop_kit.ledger import PostgresLedger
from driftloop_kit.service import Context
from driftloop_kit.settings import ServiceSettings
from driftloop_kit.telemetry import Telemetry
from driftloop_kit.workers import Workers

CAUSE = Cause("cause-1", datetime(2013, 6, 21, 9, tzinfo=UTC), "first-1")


class Trainer:
    """Handlers that say what became of a job."""

    ends: list[JobEnd]

    def __init__(self, ends: list[JobEnd]) -> None:
        self.ends = ends

    async def on_ended(self, job: Job, end: JobEnd) -> list[AnyEvent]:
        self.ends.append(end)
        assert job.cause is not None
        return [caused(TrainingFailed(model="m", request_id=job.id, reason="-", kind="test"), job.cause)]


class Bench:
    """One ledger, its context, and workers as often as a test wants."""

    def __init__(self, ledger: PostgresLedger) -> None:
        self.ledger = ledger
        self.ends: list[JobEnd] = []
        self.context: Context[Trainer] = Context(
            "retrainer", ServiceSettings(kafka="nowhere:1", http_port=0), MemoryLog(), Health(), ledger=ledger
        )

    async def add(self, job_id: str = "job-1", kind: str = "train") -> bool:
        async with self.ledger.transaction() as tx:
            return await Jobs(tx).add(job_id, kind, {"model": "m", "odd": "\x00"}, CAUSE)

    @asynccontextmanager
    async def working(
        self, run: Callable[[Context[Trainer], Job], Awaitable[Any]], **more: Any
    ) -> AsyncIterator[asyncio.Task[None]]:
        kind = JobKind[Trainer]("train", run, ended=Trainer.on_ended, **more)
        workers = Workers(self.context, self.ledger, lambda tx: Trainer(self.ends), [kind], Telemetry("test"))
        self.ledger.listen(rows=lambda: None, jobs=workers.wake)
        task = asyncio.create_task(workers.run())
        try:
            yield task
        finally:
            workers.stop()
            task.cancel()
            await asyncio.wait({task})

    async def events(self) -> int:
        return await self.ledger.outbox.pending()

    async def ended(self, count: int = 1) -> None:
        await eventually(lambda: len(self.ends) >= count)
        # The end is handled inside its transaction; once no lease is left it has committed.
        async with asyncio.timeout(10):
            while await self.open_jobs() > 0:  # noqa: ASYNC110  # nobody signals what another connection committed
                await asyncio.sleep(0.01)

    async def open_jobs(self) -> int:
        async with self.ledger.reading() as connection:
            return int(await connection.fetchval("SELECT count(*) FROM job WHERE ended_at IS NULL"))


async def succeed(context: Context[Trainer], job: Job) -> Any:
    return {"digest": job.payload["model"], "attempt": job.attempt}


async def hang(context: Context[Trainer], job: Job) -> Any:
    await asyncio.sleep(3600)


async def test_a_job_runs_and_ends_once_with_its_event(ledger: PostgresLedger) -> None:
    bench = Bench(ledger)
    async with bench.working(succeed):
        assert await bench.add()
        await bench.ended()
    assert bench.ends == [Done({"digest": "m", "attempt": 1})]
    assert await bench.events() == 1


async def test_the_same_id_is_one_job(ledger: PostgresLedger) -> None:
    bench = Bench(ledger)
    assert await bench.add()
    assert not await bench.add()
    async with bench.working(succeed):
        await bench.ended()
    assert not await bench.add()
    assert len(bench.ends) == 1


async def test_a_job_of_a_rolled_back_transaction_never_runs(ledger: PostgresLedger) -> None:
    bench = Bench(ledger)
    try:
        async with ledger.transaction() as tx:
            await Jobs(tx).add("job-1", "train", {}, CAUSE)
            raise LookupError
    except LookupError:
        assert await bench.open_jobs() == 0


async def test_a_lost_lease_runs_again_and_the_job_ends_once(ledger: PostgresLedger) -> None:
    """The first worker is stopped with the job in hand (as by SIGSTOP), the second takes over, the first wakes up."""
    bench, wake_up, began = Bench(ledger), asyncio.Event(), asyncio.Event()
    attempts: list[int] = []

    async def stopped(context: Context[Trainer], job: Job) -> Any:
        attempts.append(job.attempt)
        began.set()
        if job.attempt == 1:
            await wake_up.wait()
        return {"attempt": job.attempt}

    await bench.add()
    # Its first heartbeat comes after the lease has run out: as if the process had been stopped.
    async with bench.working(stopped, lease_s=3600), bench.working(stopped, lease_s=3600):
        await began.wait()
        async with ledger.transaction() as tx:
            await tx.connection.execute("UPDATE job SET free_at = now() - interval '1 s'")
        await eventually(lambda: len(bench.ends) == 1)
        wake_up.set()
        await asyncio.sleep(0.2)
    assert attempts == [1, 2]
    assert bench.ends == [Done({"attempt": 2})]
    assert await bench.events() == 1


async def test_who_lost_the_lease_stops_running(ledger: PostgresLedger) -> None:
    bench, began, cancelled = Bench(ledger), asyncio.Event(), asyncio.Event()

    async def run(context: Context[Trainer], job: Job) -> Any:
        if job.attempt > 1:
            return {}
        began.set()
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled.set()

    await bench.add()
    async with bench.working(run, lease_s=0.6):
        await began.wait()
        async with ledger.transaction() as tx:
            await tx.connection.execute("UPDATE job SET lease = gen_random_uuid(), free_at = now()")
        async with asyncio.timeout(5):
            await cancelled.wait()
        await bench.ended()
    assert bench.ends == [Done({})]


async def test_a_lease_is_kept_while_the_run_lasts(ledger: PostgresLedger) -> None:
    bench = Bench(ledger)
    attempts: list[int] = []

    async def slow(context: Context[Trainer], job: Job) -> Any:
        attempts.append(job.attempt)
        await asyncio.sleep(1.2)
        return {}

    await bench.add()
    async with bench.working(slow, lease_s=0.6, parallel=2):
        await bench.ended()
    assert attempts == [1]


async def test_a_cancelled_worker_gives_its_job_back_at_once(ledger: PostgresLedger) -> None:
    bench, began = Bench(ledger), asyncio.Event()

    async def begin(context: Context[Trainer], job: Job) -> Any:
        began.set()
        await asyncio.sleep(3600)

    await bench.add()
    async with bench.working(begin, lease_s=3600):
        await began.wait()
    async with bench.working(succeed):
        await bench.ended()
    assert bench.ends == [Done({"digest": "m", "attempt": 1})]


async def test_a_run_that_knows_why_it_fails_says_so(ledger: PostgresLedger) -> None:
    bench = Bench(ledger)

    async def fail(context: Context[Trainer], job: Job) -> Any:
        raise JobFailed("the training function returned 3 of 4 columns", "refused")

    await bench.add()
    async with bench.working(fail):
        await bench.ended()
    assert bench.ends == [Failed("the training function returned 3 of 4 columns", "refused")]


async def test_a_bug_is_tried_three_times_and_then_a_failure(ledger: PostgresLedger) -> None:
    bench = Bench(ledger)
    attempts: list[int] = []

    async def raise_(context: Context[Trainer], job: Job) -> Any:
        attempts.append(job.attempt)
        raise ZeroDivisionError("by zero")

    await bench.add()
    async with bench.working(raise_):
        await bench.ended()
    assert attempts == [1, 2, 3]
    assert bench.ends == [Failed("ZeroDivisionError: by zero", "raised")]


async def test_a_job_that_kills_its_process_every_time_ends_as_crashed(ledger: PostgresLedger) -> None:
    bench = Bench(ledger)
    await bench.add()
    async with ledger.transaction() as tx:
        await tx.connection.execute("UPDATE job SET attempt = 3, lease = gen_random_uuid()")
    async with bench.working(succeed):
        await bench.ended()
    assert [type(end) for end in bench.ends] == [Failed]
    assert "crashed" in str(bench.ends)


async def test_a_job_that_waits_lets_others_go_first_and_runs_as_often_as_it_takes(ledger: PostgresLedger) -> None:
    bench = Bench(ledger)
    order: list[str] = []

    async def wait(context: Context[Trainer], job: Job) -> Any:
        order.append(job.id)
        if job.id == "first" and len(order) < 6:
            raise TryAgain("the history does not cover it yet")
        return {}

    await bench.add("first")
    await bench.add("second")
    async with bench.working(wait):
        await bench.ended(2)
    assert order[:2] == ["first", "second"]
    assert order.count("first") > 3
    assert bench.ends == [Done({}), Done({})]


async def test_an_end_whose_handling_is_a_bug_becomes_a_failure(ledger: PostgresLedger) -> None:
    class Touchy(Trainer):
        async def on_ended(self, job: Job, end: JobEnd) -> list[AnyEvent]:
            if isinstance(end, Done):
                raise KeyError("digest")
            return await super().on_ended(job, end)

    bench = Bench(ledger)
    kind = JobKind[Trainer]("train", succeed, ended=lambda h, job, end: h.on_ended(job, end))
    workers = Workers(bench.context, ledger, lambda tx: Touchy(bench.ends), [kind], Telemetry("test"))
    await bench.add()
    task = asyncio.create_task(workers.run())
    await bench.ended()
    workers.stop()
    await task
    assert bench.ends == [Failed("its end could not be handled", "raised")]
    assert await bench.events() == 1


async def test_two_workers_share_fifty_jobs_and_each_ends_once(ledger: PostgresLedger) -> None:
    bench = Bench(ledger)
    for number in range(50):
        await bench.add(f"job-{number}")
    async with bench.working(succeed, parallel=2), bench.working(succeed, parallel=2):
        await bench.ended(50)
    assert len(bench.ends) == 50
    assert await bench.events() == 50
