"""Requests that arrive in one turn of the event loop are predicted in one call a version.

The tick's events are in the spool before any of its answers leaves. Shadows score the whole tick afterwards, in a thread
of their own: they can neither delay an answer nor fail it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from driftloop_bus.errors import Refused
from driftloop_bus.ports import Outgoing
from serving.handlers import Serving
from serving.ports import Counts, EventSpool
from serving.scoring import Answer, Asked, Question

# A client that lost its connection asks again within seconds; at 450 requests a second this remembers 20.
REMEMBERED_ROWS: Final = 10_000
# Shadows that fall behind lose rows of a comparison; without a bound they would take the memory of the answers.
MAX_SHADOW_ROWS: Final = 20_000
# What one shadow call takes, so that its events reach the spool while others still wait.
SHADOW_ROWS: Final = 512


class Ticks:
    """The way of a question: checked at once, scored with its tick, answered once its event is kept."""

    def __init__(
        self, serving: Serving, spool: EventSpool, counts: Counts, remembered_rows: int = REMEMBERED_ROWS
    ) -> None:
        self.serving = serving
        self._spool = spool
        self._counts = counts
        self._remembered_rows = remembered_rows
        self._waiting: list[tuple[Asked, asyncio.Future[Answer]]] = []
        self._recent: dict[tuple[str, str], tuple[asyncio.Future[Answer], int]] = {}
        self._rows = 0
        self.shadows = Shadows(serving.follow, spool, counts)

    async def predict(self, question: Question) -> Answer:
        """The answer; its events survive this process. A repeated id gives the same answer and no second event.

        Raises Refused as `Serving.ask`, and 503 when the event can't be kept.
        """
        held = self._recent.get((question.model, question.id))
        if held is None or _failed(held[0]):
            future = self._submit(self.serving.ask(question))
            self._remember(question, future)
        else:
            future = held[0]
            self._counts.add("repeated", question.model, "prediction_id")
        # Shielded: a caller that hangs up must not take the answer from one that repeats its request.
        return await asyncio.shield(future)

    def _submit(self, asked: Asked) -> asyncio.Future[Answer]:
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._tick)
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((asked, future))
        return future

    def _tick(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            answers = self._kept([asked for asked, _ in waiting])
        except BaseException as error:
            for _, future in waiting:
                _fail(future, error)
            raise
        answered = []
        for (asked, future), answer in zip(waiting, answers, strict=True):
            if isinstance(answer, Refused):
                _fail(future, answer)
            else:
                future.set_result(answer)
                answered.append(asked)
        # Behind the waking of those who wait for the futures above, so after their answers.
        asyncio.get_running_loop().call_soon(self.shadows.follow, answered)

    def _kept(self, batch: Sequence[Asked]) -> Sequence[Answer | Refused]:
        answers, said = self.serving.predict(batch)
        began = time.perf_counter()
        try:
            self._spool.append(self.serving.events(said))
        except OSError as error:
            why = f"the event of this prediction can't be kept: {error.strerror or type(error).__name__}"
            return [Refused(why, status=503)] * len(batch)
        if said:
            self._counts.emitted(time.perf_counter() - began)
        return answers

    def _remember(self, question: Question, future: asyncio.Future[Answer]) -> None:
        """The newest questions are known again, bounded by their rows."""
        self._drop((question.model, question.id))
        self._recent[question.model, question.id] = (future, len(question.rows))
        self._rows += len(question.rows)
        while self._rows > self._remembered_rows and len(self._recent) > 1:
            self._drop(next(iter(self._recent)))

    def _drop(self, key: tuple[str, str]) -> None:
        _, rows = self._recent.pop(key, (None, 0))
        self._rows -= rows


class Shadows:
    """Scores what was answered once more, by the versions that answer nobody."""

    def __init__(self, follow: Callable[[Sequence[Asked]], list[Outgoing]], spool: EventSpool, counts: Counts) -> None:
        self._follow = follow
        self._spool = spool
        self._counts = counts
        self._waiting: deque[Asked] = deque()
        self._rows = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="shadows")
        self._running: asyncio.Task[None] | None = None

    def follow(self, batch: Sequence[Asked]) -> None:
        """These will be scored; beyond the bound they are dropped and counted."""
        for asked in batch:
            if not asked.shown.shadows:
                continue
            rows = len(asked.seen)
            if self._rows + rows > MAX_SHADOW_ROWS:
                self._counts.add("shadow_rows_dropped", asked.question.model, "behind", rows)
                continue
            self._waiting.append(asked)
            self._rows += rows
        if self._waiting and (self._running is None or self._running.done()):
            self._running = asyncio.get_running_loop().create_task(self._drain(), name="shadows")

    async def drained(self) -> None:
        """Every answered row was scored by its shadows."""
        if self._running is not None:
            await self._running

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = self._next()
            records = await loop.run_in_executor(self._thread, self._follow, batch)
            try:
                self._spool.append(records)
            except OSError:
                self._counts.add("shadow_rows_dropped", batch[0].question.model, "spool", len(records))

    def _next(self) -> list[Asked]:
        batch: list[Asked] = []
        rows = 0
        while self._waiting and rows < SHADOW_ROWS:
            batch.append(self._waiting.popleft())
            rows += len(batch[-1].seen)
        self._rows -= rows
        return batch


def _failed(future: asyncio.Future[Answer]) -> bool:
    return future.cancelled() or (future.done() and future.exception() is not None)


def _fail(future: asyncio.Future[Answer], error: BaseException) -> None:
    future.set_exception(error)
    # Nobody may wait any more (the caller hung up): then this is no news.
    future.exception()
