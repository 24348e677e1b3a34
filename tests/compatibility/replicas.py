"""Two servings behind a balancer: whoever says that it is not ready gets no requests, as behind any load balancer."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
from tests.faults.account import Account, Unanswered

LOOK_S: Final = 0.1
ANSWER_WITHIN_S: Final = 5.0
# As balancers do: a word is believed at once, a silence only when it lasts.
SILENCES: Final = 3


class Balancer:
    """Sends requests to replicas in turn, and writes down what each was told."""

    def __init__(self, urls: Sequence[str], account: Account, session: aiohttp.ClientSession) -> None:
        self._urls, self._account, self._session = list(urls), account, session
        self._in_turn: list[str] = []
        self._silences: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()

    async def look(self) -> None:
        """For ever: who is ready is in rotation. A replica that is slow to say so does not hold up the word of another."""
        await asyncio.gather(*(self._look_at(url) for url in self._urls))

    async def _look_at(self, url: str) -> None:
        while True:
            ready = await self._is_ready(url)
            self._in_turn = [other for other in self._in_turn if other != url] + ([url] if ready else [])
            await asyncio.sleep(LOOK_S)

    async def until_ready(self) -> None:
        """Somebody is in rotation."""
        async with asyncio.timeout(60):
            while not self._in_turn:  # noqa: ASYNC110  # other processes
                await asyncio.sleep(LOOK_S)

    async def predict(self, model: str, number: int, body: dict[str, Any]) -> None:
        """One request, sent once: what it is told is counted, a broken connection too."""
        urls = self._in_turn
        with self._account.attempt("predict", model, number, body["prediction_id"]):
            if not urls:
                self.statuses["nobody is ready"] += 1
                raise Unanswered("nobody is ready")
            try:
                status = await self._status(f"{urls[number % len(urls)]}/predict/{model}", body)
            except (aiohttp.ClientError, TimeoutError) as error:
                self.statuses[type(error).__name__] += 1
                raise Unanswered(str(error)) from error
            self.statuses[str(status)] += 1
            if status != 200:
                raise Unanswered(str(status))

    async def _status(self, url: str, body: dict[str, Any]) -> int:
        async with asyncio.timeout(ANSWER_WITHIN_S), self._session.post(url, json=body) as answer:
            await answer.read()
            return answer.status

    async def _is_ready(self, url: str) -> bool:
        try:
            async with asyncio.timeout(1), self._session.get(f"{url}/ready") as answer:
                self._silences[url] = 0
                return answer.status == 200
        except aiohttp.ClientError:
            return False
        except TimeoutError:
            self._silences[url] += 1
            return url in self._in_turn and self._silences[url] < SILENCES


@asynccontextmanager
async def balanced(urls: Sequence[str], account: Account) -> AsyncIterator[Balancer]:
    """A balancer before these replicas."""
    # A connection each: one that was kept would be cut by a replica that leaves.
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        balancer = Balancer(urls, account, session)
        looking = asyncio.create_task(balancer.look())
        try:
            await balancer.until_ready()
            yield balancer
        finally:
            looking.cancel()


async def each(second: float, of: float, until: asyncio.Event) -> AsyncIterator[int]:
    """Numbers from 0, so many a second, whatever whoever takes them does meanwhile."""
    begun, number = time.monotonic(), 0
    while not until.is_set():
        yield number
        number += 1
        await asyncio.sleep(max(0.0, begun + number * of / second - time.monotonic()))
