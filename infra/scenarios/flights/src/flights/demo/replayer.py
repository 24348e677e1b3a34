"""The month, in event time: a barrier clock that never sleeps and never guesses.

At each hour it waits until serving has applied the weather sent; in each hour in which something may be decided also until
the monitor has judged everything sent, and until what it said has had its consequences. So a month in a minute decides what
the month would have decided.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import aiohttp
import orjson
import pyarrow as pa

from driftloop.addresses import address_of
from driftloop.producer import AsyncProducer
from driftloop_bus.errors import TryAgain
from driftloop_bus.ports import Outgoing
from driftloop_bus.tail import Tail
from driftloop_contracts.topics import (
    CANDIDATES,
    DEPLOYMENTS,
    FEATURES,
    JUDGEMENTS,
    OBSERVATIONS,
    OUTCOMES,
    PREDICTIONS,
    RETRAINING,
)
from flights.demo.chronicle import Chronicle
from flights.demo.pace import Pace
from flights.demo.parts import LOOK_AT_MOST_EVERY_S, LOOK_EVERY_S, Parts, Stuck, covers
from flights.demo.records import observations, outcomes
from flights.stream import Slice, requests

IN_FLIGHT: Final = 16
HOUR: Final = timedelta(hours=1)
# Windows close at 09:00 UTC, which rows of the hour that begins then tell.
CLOSES_AT: Final = 9
ANSWER_WITHIN_S: Final = 10.0
# Serving has just come back and still reads its state: it says so, and the request may be sent again.
RESTARTED: Final = 503
TRAINED_WITHIN_S: Final = 240.0
TRIES: Final = 600
# Topics on which something is decided: quiet while nothing more follows.
DECIDING: Final = (RETRAINING.name, CANDIDATES.name, JUDGEMENTS.name, DEPLOYMENTS.name)
# Few rows of an hour: they go as JSON-sized records of their own, one per key.
JSON: Final = {"content-type": "application/json"}


@dataclass(slots=True)
class Counts:
    """What was sent and what came back."""

    predictions: int = 0
    outcomes: int = 0
    observations: int = 0
    repeated: int = 0
    """Requests that were sent again, with the same id, because the first got no answer."""
    failed: list[str] = field(default_factory=list)
    """Requests that were answered, but not with a prediction."""
    versions: dict[str, int] = field(default_factory=dict)


class Replayer:
    """Sends slices of the world as fast as the circle follows."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        producer: AsyncProducer,
        parts: Parts,
        chronicle: Chronicle,
        tail: Tail[Chronicle],
        *,
        free_running: bool,
    ) -> None:
        self._session = session
        self._producer = producer
        self._parts = parts
        self._chronicle = chronicle
        self._tail = tail
        self._free_running = free_running
        self._room = asyncio.Semaphore(IN_FLIGHT)
        self.counts = Counts()

    async def run(self, slices: Iterator[Slice], pace: Pace, progress: Callable[[Slice], None]) -> None:
        """Every slice is sent, and what follows from the last has followed. Raises Stuck when the circle does not turn."""
        for piece in slices:
            await pace.keep(len(piece.weather) + len(piece.predictions) + len(piece.outcomes))
            await self.send(piece)
            if not self._free_running and self._decides(piece):
                await self.settle()
            progress(piece)
        await self.settle()

    async def send(self, piece: Slice) -> None:
        """The slice is sent, and every prediction of it answered."""
        await self._publish(list(observations("weather", piece.weather)))
        self.counts.observations += len(piece.weather)
        if len(piece.weather) and not self._free_running:
            await self._features_applied()
        await asyncio.gather(self._ask_all(piece.predictions), self._tell(piece.outcomes))

    def _decides(self, piece: Slice) -> bool:
        """Whether something may be decided in this hour: a window has closed, an alarm waits for outcomes, a look is due."""
        deployment = self._chronicle.deployment()
        looks = [look for one in (deployment.challengers if deployment else []) for look in one.looks]
        due = any(piece.start <= look <= piece.start + HOUR for look in looks)
        return piece.start.hour == CLOSES_AT or due or self._chronicle.collecting()

    async def settle(self) -> None:
        """Everything sent has been judged, and every consequence of it, a training too, is in effect."""
        await self._parts.until("serving", lambda said: said.get("spool_pending") == 0, "sent its predictions")
        await self._parts.until_covered("monitor", [PREDICTIONS.name, OUTCOMES.name])
        said: dict[tuple[str, int], int] = {}
        while said != (said := await self._parts.ends(DECIDING)):
            await self._heard_until(said)
            await self._until(self._chronicle.answered, "brought a candidate for every retrain request", "retrainer")
            await self._parts.until_covered("registry", [CANDIDATES.name, JUDGEMENTS.name])
            await self._heard_until(await self._parts.ends(DECIDING))
            await self._parts.until("serving", self._loaded, "loaded the deployment")
            await self._parts.until_covered("monitor", [DEPLOYMENTS.name])

    async def _heard_until(self, ends: dict[tuple[str, int], int]) -> None:
        await self._until(lambda: covers(_texts(self._tail.positions()), ends), "been heard", "the control topics")

    async def _until(self, so: Callable[[], bool], what: str, who: str) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + TRAINED_WITHIN_S
        while not so():
            if loop.time() > deadline:
                raise Stuck(f"{who} had not {what} after {TRAINED_WITHIN_S:g} s: see `driftloop status` and its log")
            await asyncio.sleep(LOOK_EVERY_S)

    def _loaded(self, said: dict[str, Any]) -> bool:
        wanted = self._chronicle.deployment()
        model = said.get("models", {}).get(self._chronicle.model, {})
        return wanted is None or model.get("revision") == wanted.revision

    async def _features_applied(self) -> None:
        """Serving answers with the weather that was sent."""
        await self._parts.until_covered("feature_store", [OBSERVATIONS.name])
        await self._parts.until_covered("serving", [FEATURES.name])

    async def _tell(self, rows: pa.Table) -> None:
        await self._publish(list(outcomes(rows, None, self._chronicle.model)))
        self.counts.outcomes += len(rows)

    async def _publish(self, records: list[Outgoing]) -> None:
        for _ in range(TRIES):
            if not records:
                return
            try:
                await self._producer.send_records(records)
                return
            except TryAgain:
                self.counts.repeated += 1
                await asyncio.sleep(LOOK_AT_MOST_EVERY_S)
        raise Stuck("Kafka takes no records; see `driftloop status`")

    async def _ask_all(self, rows: pa.Table) -> None:
        async with asyncio.TaskGroup() as group:
            for body in requests(rows):
                await self._room.acquire()
                group.create_task(self._ask(body))

    async def _ask(self, body: dict[str, Any]) -> None:
        try:
            content = orjson.dumps(body)
            for _ in range(TRIES):
                if await self._answered(content, body["prediction_id"]):
                    return
                self.counts.repeated += 1
                await asyncio.sleep(LOOK_AT_MOST_EVERY_S)
            raise Stuck("serving does not answer; see `driftloop status`")
        finally:
            self._room.release()

    async def _answered(self, content: bytes, prediction_id: str) -> bool:
        """Whether an answer came, of whatever kind; without one the same request, with the same id, may be sent again."""
        address = f"{address_of('serving')}/predict/{self._chronicle.model}"
        try:
            async with (
                asyncio.timeout(ANSWER_WITHIN_S),
                self._session.post(address, data=content, headers=JSON) as answer,
            ):
                said = await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            return False
        if answer.status == RESTARTED:
            return False
        if answer.status != 200:
            self.counts.failed.append(f"{answer.status} for {prediction_id}: {said[:200]!r}")
            return True
        version = str(orjson.loads(said)["version"])
        self.counts.versions[version] = self.counts.versions.get(version, 0) + 1
        self.counts.predictions += 1
        return True


def _texts(positions: dict[str, dict[int, int]]) -> dict[str, dict[str, int]]:
    """Partitions as JSON names them."""
    return {topic: {str(number): offset for number, offset in parts.items()} for topic, parts in positions.items()}
