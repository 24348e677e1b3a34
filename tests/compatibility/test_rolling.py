"""U1: the previous commit's services, one after the other replaced by today's, and back again, while the circle is used.

Predictions go to two servings behind a balancer; outcomes and observations to Kafka; commands to the console. Nothing may be
refused, parked or lost on the way. DRIFTLOOP_PREVIOUS names another commit to come from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from tests.compatibility.replicas import Balancer, balanced, each
from tests.compatibility.versions import previous, unpacked
from tests.faults.account import Account, told
from tests.faults.late_world import a_view, readings
from tests.faults.reading import ends, rows, send, until_read
from tests.faults.report import Report
from tests.faults.results import size
from tests.faults.verdict import Effect, judge
from tests.first_version import first_version

from driftloop_artifacts import ArtifactStore
from driftloop_bus.codec import encode
from driftloop_bus.routes import reads
from driftloop_bus.testing import publish
from driftloop_contracts import first
from driftloop_contracts.data_plane import OutcomeObserved
from driftloop_contracts.documents import ModelDeclaration
from driftloop_contracts.topics import OUTCOMES, PREDICTIONS, dead_letter_topics
from driftloop_kit.testing import ServiceProcess
from serving.testing import FEATURES, linear_model

pytestmark = [pytest.mark.faults, pytest.mark.stack]
KEEPING: Final = ("registry", "feature_store", "monitor", "retrainer")
REPLICAS: Final = ("serving", "serving-b")
NAMES: Final = (*KEEPING, *REPLICAS, "console")
MODEL: Final = "rolled"
A_SECOND: Final = {"whole": 100, "fast": 30}
# How long all is left alone between two replacements.
REST_S: Final = {"whole": 15.0, "fast": 1.0}
WITHIN_S: Final = 180.0
MADE: Final = "SELECT prediction_id, arrived_us FROM prediction WHERE model = $1"


@contextmanager
def circle(
    kafka: str, folder: Path, urls: Mapping[str, str], code: Mapping[str, str]
) -> Iterator[dict[str, ServiceProcess]]:
    """Every service, ready, at this code."""
    places = {name: (folder / name).as_uri() for name in ("artifacts", "history")}
    common: dict[str, Any] = {
        "DRIFTLOOP_ARTIFACTS": places["artifacts"],
        "DRIFTLOOP_HISTORY": places["history"],
        "DRIFTLOOP_DRAIN_S": "2",
    }
    with ExitStack() as stack:
        services = {}
        for name in NAMES:
            (folder / name).mkdir()
            services[name] = stack.enter_context(
                ServiceProcess(name.split("-")[0], kafka, folder / name, urls.get(name), **(common | dict(code)))
            )
        for service in services.values():
            ready(service)
        yield services


def ready(service: ServiceProcess) -> None:
    """It is, however slowly a busy machine starts it: meanwhile others answer."""
    service.until_page("/ready", lambda said: said["ready"], WITHIN_S)


async def replaced(services: Mapping[str, ServiceProcess], code: Mapping[str, str]) -> None:
    """One after the other runs this code."""
    for service in services.values():
        await asyncio.sleep(REST_S[size()])
        assert await asyncio.to_thread(service.stop) == 0, service.log_tail()
        service.run_with(**{"PYTHONPATH": "", **code})
        service.start()
        await asyncio.to_thread(ready, service)


class Users:
    """Everybody who uses the circle."""

    def __init__(self, kafka: str, console: str, balancer: Balancer) -> None:
        self._kafka, self._console, self._balancer = kafka, console, balancer
        self.over = asyncio.Event()
        self.commands = 0
        self.refused: list[str] = []

    async def use(self) -> None:
        """Until it is over."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ask(group))
            group.create_task(self._tell())
            group.create_task(self._command())

    async def _ask(self, group: asyncio.TaskGroup) -> None:
        async for number in each(A_SECOND[size()], 1.0, self.over):
            body = {"features": {"wind": float(number % 9), "origin": "EWR"}, "prediction_id": f"r{number}"}
            group.create_task(self._balancer.predict(MODEL, number, body))

    async def _tell(self) -> None:
        """Each second what came true for the predictions of the second before, and how the weather was."""
        weather = readings(20_000)
        async for second in each(1, 1.0, self.over):
            now, rate = datetime.now(UTC), A_SECOND[size()]
            outcomes = [
                encode(first(OutcomeObserved(model=MODEL, prediction_id=f"r{n}", value=n % 2 == 0, observed_at=now),
                             id=f"rolled-{n}", time=now), "outside")
                for n in range((second - 1) * rate, second * rate) if second
            ]  # fmt: skip
            await send(self._kafka, [*outcomes, *weather[second * 20 : second * 20 + 20]])

    async def _command(self) -> None:
        """Declares something every two seconds. Of the console there is one: while it is gone the same is said again."""
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            async for number in each(1, 2.0, self.over):
                document = a_declaration(f"other-{number}").model_dump(mode="json", exclude_none=True)
                body = {"id": f"apply-{number}", "command": "apply", "model": f"other-{number}", "document": document}
                answer = await self._said(client, body)
                self.commands += 1
                if not answer.is_success:
                    self.refused.append(answer.text)

    async def _said(self, client: httpx.AsyncClient, body: dict[str, Any]) -> httpx.Response:
        async with asyncio.timeout(WITHIN_S):
            while True:
                try:
                    answer = await client.post(f"{self._console}/commands", json=body)
                    if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                        return answer
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.2)


def heard(name: str) -> list[str]:
    """Topics whose offsets the service keeps; its history reads the feature store's others without a group."""
    rows = {PREDICTIONS.name, OUTCOMES.name} if name == "feature_store" else set()
    return [topic.name for topic in reads(name) if topic.name not in rows]


def a_declaration(model: str) -> ModelDeclaration:
    """Two features, given by the caller."""
    return ModelDeclaration.model_validate(
        {"model": model, "owner": "ops", "task": "binary", "features": FEATURES, "train": {"entry": "late.train:train"}}
    )


async def a_served_model(kafka: str, folder: Path) -> None:
    """Declared and deployed, its bytes in the store."""
    digest = str(await ArtifactStore.open((folder / "artifacts").as_uri()).put(linear_model(1.0)))
    now = datetime.now(UTC)
    facts = first_version(a_declaration(MODEL), digest, FEATURES, now)
    await publish(
        kafka, "registry", a_view(), *(first(fact, id=f"{MODEL}-{n}", time=now) for n, fact in enumerate(facts))
    )


async def test_rolling_there_and_back(
    kafka: str, service_database: Callable[[str], str], tmp_path: Path, report: Report
) -> None:
    commit = previous()
    old = unpacked(commit, tmp_path / "previous")
    urls = {name: await asyncio.to_thread(service_database, name) for name in KEEPING}
    await a_served_model(kafka, tmp_path)
    with Account(tmp_path / "account") as account, circle(kafka, tmp_path, urls, old) as services:
        services["serving"].until_page("/ready", lambda said: said["models"].get(MODEL, {}).get("champion"))
        services["serving-b"].until_page("/ready", lambda said: said["models"].get(MODEL, {}).get("champion"))
        async with balanced([services[name].url for name in REPLICAS], account) as balancer:
            users = Users(kafka, services["console"].url, balancer)
            using = asyncio.create_task(users.use())
            try:
                await replaced(services, {})
                await replaced(services, old)
                await asyncio.sleep(REST_S[size()])
            finally:
                users.over.set()
                await using
        for name in REPLICAS:
            services[name].until_page("/ready", lambda said: said["spool_pending"] == 0)
        for name in KEEPING:
            await until_read(urls[name], await ends(kafka, heard(name)), WITHIN_S)
        made = await rows(urls["monitor"], MADE, MODEL)
    effects = [Effect(MODEL, row["prediction_id"], int(row["prediction_id"][1:])) for row in made]
    verdict = judge(told(account.path), sorted(effects, key=lambda effect: effect.seq))
    parked = await ends(kafka, sorted(dead_letter_topics()))
    report(
        "U1", verdict, bounds={"dead_letters": 0, "non_2xx": 0, "commands_refused": 0}, previous=commit[:12],
        replacements=2 * len(NAMES), dead_letters=sum(parked.values()), statuses=dict(balancer.statuses),
        non_2xx=sum(count for status, count in balancer.statuses.items() if status != "200"), commands=users.commands,
        commands_refused=len(users.refused), refusals=users.refused[:3],
    )  # fmt: skip
