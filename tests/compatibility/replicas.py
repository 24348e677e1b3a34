"""Two servings behind a balancer: whoever says that it is not ready gets no requests, as behind any load balancer."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
from tests.compatibility.upstream import Upstream
from tests.faults.account import Account, Unanswered

LOOK_S: Final = 0.1
ANSWER_WITHIN_S: Final = 5.0
# As balancers do: a word is believed at once, a silence only when it lasts, and where another is ready.
SILENCES: Final = 3


class Balancer:
    """Sends requests to replicas in turn, and writes down what each was told."""

    def __init__(self, urls: Sequence[str], account: Account, session: aiohttp.ClientSession) -> None:
        self._replicas, self._account, self._session = [Upstream(url) for url in urls], account, session
        self._in_turn: list[Upstream] = []
        self._silences: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()

    async def look(self) -> None:
        """For ever: who is ready is in rotation. A replica that is slow to say so does not hold up the word of another."""
        await asyncio.gather(*(self._look_at(replica) for replica in self._replicas))

    async def _look_at(self, replica: Upstream) -> None:
        while True:
            ready = await self._is_ready(replica)
            self._in_turn = [other for other in self._in_turn if other is not replica] + ([replica] if ready else [])
            if not ready:
                replica.leave()
            await asyncio.sleep(LOOK_S)

    async def until_ready(self) -> None:
        """Somebody is in rotation."""
        async with asyncio.timeout(60):
            while not self._in_turn:  # noqa: ASYNC110  # other processes
                await asyncio.sleep(LOOK_S)

    async def predict(self, model: str, number: int, body: dict[str, Any]) -> None:
        """One request, sent once: what it is told is counted, a broken connection too."""
        replicas = self._in_turn
        with self._account.attempt("predict", model, number, body["prediction_id"]):
            if not replicas:
                self.statuses["nobody is ready"] += 1
                raise Unanswered("nobody is ready")
            try:
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    status = await replicas[number % len(replicas)].post(f"/predict/{model}", body)
            except (OSError, EOFError) as error:
                self.statuses[type(error).__name__] += 1
                raise Unanswered(str(error)) from error
            self.statuses[str(status)] += 1
            if status != 200:
                raise Unanswered(str(status))

    async def _is_ready(self, replica: Upstream) -> bool:
        try:
            async with asyncio.timeout(1), self._session.get(f"{replica.url}/ready") as answer:
                self._silences[replica.url] = 0
                return answer.status == 200
        except aiohttp.ClientError:
            return False
        except TimeoutError:
            self._silences[replica.url] += 1
            return replica in self._in_turn and (self._in_turn == [replica] or self._silences[replica.url] < SILENCES)


@asynccontextmanager
async def balanced(urls: Sequence[str], account: Account) -> AsyncIterator[Balancer]:
    """A balancer before these replicas."""
    # A connection a look: one that was kept would be cut by a replica that leaves, or is left in peace for long.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        balancer = Balancer(urls, account, session)
        looking = asyncio.create_task(balancer.look())
        try:
            await balancer.until_ready()
            yield balancer
        finally:
            looking.cancel()


async def each(second: float, of: float, until: asyncio.Event) -> AsyncIterator[int]:
    """Numbers from 0, so many a second; who is more than a second behind does not catch up."""
    due, number = time.monotonic(), 0
    while not until.is_set():
        yield number
        number += 1
        due = max(due + of / second, time.monotonic() - 1.0)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
