"""Who uses the circle while it soaks: predictions and feature pushes by HTTP, outcomes by Kafka, a command now and then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
from tests.faults.account import Line, State
from tests.load.soak_world import MODEL, VIEW, a_declaration

from driftloop.producer import AsyncProducer
from driftloop_contracts import first
from driftloop_contracts.data_plane import OutcomeObserved

PREDICTIONS_A_SECOND: Final = 50
PUSHES_A_SECOND: Final = 2
ROWS_A_PUSH: Final = 5
SITES: Final = 200
COMMAND_EACH_S: Final = 5.0
# An outcome comes so long after its prediction.
OUTCOME_AFTER_S: Final = 2
ANSWER_WITHIN_S: Final = 30.0
CONNECTIONS: Final = 16
OK: Final = 200


@dataclass
class Users:
    """Their account is kept in memory: here nobody kills them."""

    kafka: str
    serving: str
    feature_store: str
    console: str
    over: asyncio.Event = field(default_factory=asyncio.Event)
    told: dict[str, list[Line]] = field(default_factory=lambda: {"prediction": [], "outcome": [], "push": []})
    newest: dict[str, float] = field(default_factory=dict)
    """The value of the last push of each site that was acked."""
    refusals: list[str] = field(default_factory=list)
    commands: int = 0

    async def use(self) -> None:
        """Until it is over; then everybody has been answered."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)
        async with (
            # So many connections, however slow the answers of a busy machine: descriptors are counted on the other side.
            aiohttp.ClientSession(
                timeout=timeout, connector=aiohttp.TCPConnector(limit_per_host=CONNECTIONS)
            ) as session,
            AsyncProducer("soak", self.kafka) as producer,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(self._predict(session, group))
            group.create_task(self._observe(producer))
            group.create_task(self._push(session))
            group.create_task(self._command(session))

    async def _predict(self, session: aiohttp.ClientSession, group: asyncio.TaskGroup) -> None:
        async for number in each(1 / PREDICTIONS_A_SECOND, self.over):
            group.create_task(self._predict_one(session, number))

    async def _predict_one(self, session: aiohttp.ClientSession, number: int) -> None:
        body = {
            "features": {"origin": "EWR" if number % 3 else "JFK"}, "keys": {"site": f"s{number % SITES}"},
            "prediction_id": f"p{number}",
        }  # fmt: skip
        state = await self._asked(session, f"{self.serving}/predict/{MODEL}", body)
        self._tell("prediction", f"p{number}", number, state)

    async def _observe(self, producer: AsyncProducer) -> None:
        """Each second what came true for the predictions of two seconds ago."""
        async for second in each(1.0, self.over):
            start = (second - OUTCOME_AFTER_S) * PREDICTIONS_A_SECOND
            if start < 0:
                continue
            now, numbers = datetime.now(UTC), range(start, start + PREDICTIONS_A_SECOND)
            await producer.send_until_acked([
                first(OutcomeObserved(model=MODEL, prediction_id=f"p{n}", value=n % 2 == 0, observed_at=now),
                      id=f"soaked-{n}", time=now)
                for n in numbers
            ])  # fmt: skip
            for number in numbers:
                self._tell("outcome", f"p{number}", number, "ok")

    async def _push(self, session: aiohttp.ClientSession) -> None:
        async for number in each(1 / PUSHES_A_SECOND, self.over):
            sites = [f"s{(number * ROWS_A_PUSH + i) % SITES}" for i in range(ROWS_A_PUSH)]
            moment = datetime.now(UTC).isoformat()
            df = {"site": sites, "event_timestamp": [moment] * len(sites), "wind": [float(number)] * len(sites)}
            body = {"feature_view_name": VIEW, "df": df}
            state = await self._asked(session, f"{self.feature_store}/write-to-online-store", body)
            for site in sites:
                self._tell("push", f"{site}:{number}", number, state)
                if state == "ok":
                    self.newest[site] = float(number)

    async def _command(self, session: aiohttp.ClientSession) -> None:
        """One model is declared anew, under an owner that changes."""
        async for number in each(COMMAND_EACH_S, self.over):
            document = a_declaration("soak-other", f"ops-{number % 2}").model_dump(mode="json", exclude_none=True)
            body = {"id": f"soak-{number}", "command": "apply", "model": "soak-other", "document": document}
            self.commands += await self._asked(session, f"{self.console}/commands", body) == "ok"

    async def _asked(self, session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> State:
        try:
            async with session.post(url, json=body) as answer:
                said = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.refusals.append(f"{url}: {error!r}")
            return "indefinite"
        if not answer.ok:
            self.refusals.append(f"{url}: {answer.status} {said[:200]}")
            return "fail"
        return "ok"

    def _tell(self, kind: str, what: str, number: int, state: State) -> None:
        self.told[kind].append(Line(time.time(), kind, what, number, what, state))


async def each(seconds: float, over: asyncio.Event) -> AsyncIterator[int]:
    """Numbers from 0, one at each due time, whatever came of the earlier ones."""
    begun, number = time.monotonic(), 0
    while not over.is_set():
        yield number
        number += 1
        await asyncio.sleep(max(0.0, begun + number * seconds - time.monotonic()))
