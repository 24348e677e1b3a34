"""The loop around every handler: poll, decode, one transaction per slice, and what each kind of error means.

Offsets, effects and what follows are committed together, so a record has its effects once, whatever dies when. Slices of
different partitions are handled one after another; one that must wait does not hold up the others.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Generic

from driftloop_bus.assignment import Assignment
from driftloop_bus.errors import Fenced, TryAgain
from driftloop_bus.failpoints import failpoint
from driftloop_bus.flood import Gauge
from driftloop_bus.flow import Flow
from driftloop_bus.handling import Cut, Handling
from driftloop_bus.lag import Standing
from driftloop_bus.observer import Note, Observer, unobserved
from driftloop_bus.partition import Partition
from driftloop_bus.ports import Claim, Consumer, Ledger, Log, Slice, TopicPartition, Transaction
from driftloop_bus.quarantine import Trial, is_guilty, is_suspicious, quarantined
from driftloop_bus.routes import H, Route, every, on, on_batch, on_every, plan, reads
from driftloop_bus.ticks import Ticks
from driftloop_bus.work import Work, prepare

__all__ = ["Runner", "every", "on", "on_batch", "on_every"]

# Hot topics are handled thousands of rows at a time: a worker waits for commits more than it computes.
HOT_RECORDS: Final = 5_000
CONTROL_RECORDS: Final = 500
POLL_WAIT_MS: Final = 500
# A woken zombie waits until the group has surely noticed.
SESSION_TIMEOUT_S: Final = 30.0
HINT_EACH_S: Final = 1.0
HINT_DEADLINE_S: Final = 2.0


class Runner(Generic[H]):
    """Hears the topics of its routes as one member of its group. `run` returns after `stop`, and never gives up before."""

    def __init__(
        self,
        service: str,
        group: str,
        log: Log,
        ledger: Ledger,
        handlers: Callable[[Transaction], H],
        routes: Sequence[Route[H]],
        *,
        version: str = "",
        wake: Callable[[], None] = lambda: None,
        observe: Observer = unobserved,
        rejoin_after_s: float = SESSION_TIMEOUT_S,
        max_records: int | None = None,
        poll_wait_ms: int = POLL_WAIT_MS,
        chance: random.Random | None = None,
        trial: Trial | None = None,
    ) -> None:
        """service: reads and writes what the catalogue gives it; group: the name of its offsets and dead letters.

        handlers: makes the object that lives for one transaction.
        wake: told after each commit that left something in the outbox (`Relay.wake`).
        trial: of a record over which a reader has died.
        Raises LookupError or ValueError where routes contradict the catalogue.
        """
        self._log, self._ledger, self._observe, self._wake = log, ledger, observe, wake
        self._plan = plan(routes, reads(service))
        self._group, self._trial = group, trial
        self._handling = Handling(service, self._group, version, handlers)
        self._ticks = Ticks(self._plan.ticks, ledger, self._handling, wake, observe)
        self._max_records = max_records or (HOT_RECORDS if self._plan.batches else CONTROL_RECORDS)
        self._ours: Assignment[H] = Assignment(ledger, observe, rejoin_after_s, chance or random.Random())
        self._poll_wait_s = poll_wait_ms / 1000
        self._consumer: Consumer | None = None
        self._flow: Flow[H]
        """There once there is a consumer."""
        self._hint_at = 0.0
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Hears until `stop`; then what was begun is finished and the group is left."""
        if not self._plan.topics():
            while not self._stopping.is_set():
                await self._ticks.due()
                await asyncio.sleep(self._ticks.wait_s(self._poll_wait_s))
            return
        self._consumer = await self._log.consumer(
            self._plan.topics(), self._group, self._ours.assigned, self._ours.revoked
        )
        self._flow = Flow(self._consumer, self._ours, self._observe)
        alive = False
        try:
            while not self._stopping.is_set():
                await self._round(self._consumer)
            await self._hint(self._consumer, force=True)
            await self._ours.release(self._ours.all())
            alive = True
        finally:
            if not alive:
                self._ours.forget()
            await self._consumer.close()

    def stop(self) -> None:
        """`run` returns after the slice that it is at."""
        self._stopping.set()

    def positions(self) -> dict[str, dict[int, int]]:
        """The next offset of each partition that is ours: everything before it has its effects."""
        found: dict[str, dict[int, int]] = {}
        for part in self._ours.all():
            if part.claim is not None:
                found.setdefault(part.topic, {})[part.number] = part.claim.next_offset
        return found

    def standings(self) -> dict[TopicPartition, Standing]:
        """Where each partition that is ours stands: what its lag is reckoned from."""
        ours = [(part, part.claim) for part in self._ours.all() if part.claim is not None]
        return {part.place: part.standing(claim.next_offset) for part, claim in ours}

    def paused(self) -> dict[TopicPartition, str]:
        """Partitions that stand still until a person resumes them, with the reason."""
        return {part.place: part.stopped for part in self._ours.all() if part.stopped}

    def resume(self, topic: str, partition: int) -> bool:
        """The partition goes on where it stood; its flood is forgotten. False, and nothing else, where it was not paused."""
        part = self._ours.get(topic, partition)
        if part is None or not part.stopped or self._consumer is None:
            return False
        part.stopped, part.gauge = "", Gauge()
        self._flow.go_on(part)
        return True

    @property
    def waiting_for(self) -> str | None:
        """Why something that could go on does not, for people; None when all is well."""
        if self._consumer is not None and self._consumer.waiting_for:
            return self._consumer.waiting_for
        return next((f"{part}: {part.reason}" for part in self._ours.all() if part.reason), None)

    async def _round(self, consumer: Consumer) -> None:
        for part in self._ours.unclaimed():
            await self._claim(consumer, part)
        for one in await consumer.poll(self._max_records, self._wait_ms()):
            failpoint("runner.after_fetch")
            self._take(one)
        now = time.monotonic()
        # A hot topic's thousands must not hold up a decision: the shortest slices first.
        due = [part for part in self._ours.all() if part.is_due(now)]
        for part in sorted(due, key=Partition.length):
            if self._ours.holds(part) and not self._stopping.is_set():
                await self._turn(part)
        await self._ticks.due()
        await self._hint(consumer)

    async def _claim(self, consumer: Consumer, part: Partition[H]) -> None:
        self._flow.pause(part)
        try:
            claim = await self._ledger.claim(*part.place)
            end = await self._end(consumer, claim)
        except TryAgain as error:
            self._flow.postponed(part, error)
            return
        if not self._ours.holds(part):
            return
        part.claim = claim
        self._observe(Note("claimed", *part.place, offset=claim.next_offset))
        self._look_out(part, claim)
        if end < claim.next_offset:
            self._flow.gap(part, f"the log ends at {end}, handled was up to {claim.next_offset}")
        else:
            part.well()
            self._flow.go_on(part)

    async def _end(self, consumer: Consumer, claim: Claim) -> int:
        try:
            return (await consumer.end_offsets()).get((claim.topic, claim.partition), claim.next_offset)
        except TryAgain:
            # It is claimed again, and that counts; nobody died of a broker that is away.
            await self._ledger.release(claim)
            raise

    def _look_out(self, part: Partition[H], claim: Claim) -> None:
        part.careful = is_suspicious(claim)
        if part.careful:
            said = f"claimed {claim.claims} times in a row, its record begun alone {claim.deaths} times: one by one from here"
            self._observe(Note("careful", *part.place, offset=claim.next_offset, reason=said))

    # One slice

    def _take(self, one: Slice) -> None:
        part = self._ours.get(one.topic, one.partition)
        if part is None or part.claim is None or part.slice is not None or part.stopped:
            # Read again later: whoever lets the partition go on seeks first.
            if part is not None and part.claim is None:
                self._flow.pause(part)
            return
        if one.start < part.claim.next_offset:
            self._flow.gap(part, f"the log goes on at {one.start}, handled was up to {part.claim.next_offset}")
            return
        if part.careful:
            self._flow.pause(part)
            part.begin_first(one.records)
            return
        if part.most is not None and len(one.records) > part.most:
            self._flow.pause(part)
            one = Slice(part.topic, part.number, one.records[: part.most])
        part.begin(one, prepare(self._plan, one.records))
        self._cut_at_flood(part)

    def _cut_at_flood(self, part: Partition[H]) -> None:
        """What can't be decoded is known before anything is handled: the slice ends where it floods."""
        if part.slice is None or part.work is None or not part.work.bad:
            return
        _, cut = part.gauge.after(part.slice.records, {one.record.offset for one in part.work.bad})
        if cut is not None:
            self._shorten(part, cut)

    def _shorten(self, part: Partition[H], records: int) -> None:
        if part.slice is not None:
            part.slice = Slice(part.topic, part.number, part.slice.records[:records])
            part.work = prepare(self._plan, part.slice.records)

    async def _turn(self, part: Partition[H]) -> None:
        """The slice of the partition has its effects, or waits for its next turn, or is dropped."""
        started = time.monotonic()
        try:
            if part.unsure and not await self._still_to_do(part):
                return
            if part.work is None:
                part.work = await self._begun(part)
            await self._handle(part)
        except TryAgain as error:
            part.unsure = True
            if (fewer := part.spare(time.monotonic() - started)) is not None:
                self._shorten(part, fewer)
            self._flow.postponed(part, error)
            await self._survived(part)
        except Fenced as error:
            self._flow.fenced(part, error)
        except Cut as cut:
            self._shorten(part, cut.records)
        except Exception as error:  # noqa: BLE001  # a bug: tried again, narrowed, parked
            self._flow.failed(part, error)
            await self._survived(part)
        else:
            self._done(part, time.monotonic() - started)

    async def _begun(self, part: Partition[H]) -> Work[H]:
        """The one record of a careful slice, looked at only after it was noted who is looked at; or parked without a look."""
        assert part.claim is not None
        assert part.slice is not None
        record = part.slice.records[0]
        if await is_guilty(part.claim, record, self._trial):
            return Work(self._plan, bad=[quarantined(record, part.claim)])
        await self._ledger.begin_alone(part.claim)
        return prepare(self._plan, part.slice.records)

    async def _survived(self, part: Partition[H]) -> None:
        """A record that was taken alone and only failed has killed nobody; it is begun anew at its next turn."""
        if part.careful and part.claim is not None:
            part.claim, part.work = replace(part.claim, deaths=0), None
            await self._ours.release([part])

    async def _still_to_do(self, part: Partition[H]) -> bool:
        """After a commit whose outcome is unknown: False when it happened, and the partition goes on behind it."""
        assert part.claim is not None
        assert part.slice is not None
        stored = await self._ledger.current(part.claim)
        part.unsure = False
        if stored.next_offset == part.claim.next_offset:
            return True
        part.claim = stored
        self._wake()
        part.well()
        self._flow.go_on(part)
        return False

    async def _handle(self, part: Partition[H]) -> None:
        assert part.claim is not None
        assert part.slice is not None
        assert part.work is not None
        start, end = part.claim.next_offset, part.slice.end
        async with self._ledger.batch(part.claim, start, end) as tx:
            if part.failures:
                part.parked = await self._handling.narrowed(tx, part.slice, part.work, part.failures + 1, part.gauge)
                part.published = 1
            else:
                part.parked = part.work.bad
                part.published = await self._handling.at_once(tx, part.work)
            failpoint("runner.before_commit")
        failpoint("runner.after_commit")

    def _done(self, part: Partition[H], seconds: float) -> None:
        assert part.slice is not None
        one = part.slice
        self._observe(Note("handled", *part.place, offset=one.end, records=len(one.records), seconds=seconds))
        for parked in part.parked:
            at = parked.record.offset
            self._observe(
                Note("parked", *part.place, offset=at, records=1, reason=str(parked.error), error=parked.error)
            )
        if part.published:
            self._wake()
        part.gauge, _ = part.gauge.after(one.records, {parked.record.offset for parked in part.parked})
        part.grow(seconds, self._max_records)
        part.finish(one.end)
        part.hint = one.end
        if part.gauge.flooded:
            self._flow.flooded(part, one)
        elif part.paused and not part.length():
            self._flow.go_on(part)

    # What goes on beside it

    def _wait_ms(self) -> int:
        """As long as a poll may wait before something else is due."""
        now = time.monotonic()
        waiting = [part.retry_at - now for part in self._ours.all() if part.retry_at > now]
        if any(part.is_due(now) for part in self._ours.all()):
            return 0
        return max(1, int(self._ticks.wait_s(min([self._poll_wait_s, *waiting])) * 1000))

    async def _hint(self, consumer: Consumer, *, force: bool = False) -> None:
        now = time.monotonic()
        hinted = {part.place: part.hint for part in self._ours.all() if part.hint is not None}
        if not hinted or (now < self._hint_at and not force):
            return
        self._hint_at = now + HINT_EACH_S
        for part in self._ours.all():
            part.hint = None
        failpoint("runner.before_hint")
        try:
            await asyncio.wait_for(consumer.hint(hinted), HINT_DEADLINE_S)
            failpoint("runner.after_hint")
        except (TryAgain, TimeoutError) as error:
            self._observe(Note("hint_lost", records=len(hinted), reason=str(error), error=error))
