"""Services that reach their Kafka and their Postgres through proxies alone."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from tests.faults.broker_behind import Broker
from tests.faults.framing import Framing, KafkaFrames, PostgresFrames
from tests.faults.proxy import Proxy

from driftloop_kit.schema import migrate
from driftloop_kit.testing import ServiceProcess
from driftloop_local.databases import ServiceDatabase
from driftloop_local.stack import LocalStack

KEEPS_NOTHING: Final = frozenset(("serving", "console"))


@dataclass(frozen=True, slots=True)
class World:
    """Real parts and what stands between."""

    services: dict[str, ServiceProcess]
    kafka: Proxy
    postgres: Proxy
    broker: Broker
    databases: dict[str, ServiceDatabase]
    """Addresses that lead straight there."""


@asynccontextmanager
async def behind_proxies(names: Iterable[str]) -> AsyncIterator[World]:
    """These services, ready. What blocks is done in threads: the proxies live in the loop of the check."""
    home = a_home()
    with LocalStack(home / "stack", only={"postgres"}) as stack:
        broker = Broker(a_folder(home / "kafka"))
        async with (
            between(broker.port_behind, KafkaFrames) as kafka,
            between(urlsplit(stack.postgres).port or 0, PostgresFrames) as postgres,
        ):
            broker.proxy_port = kafka.port
            async with broker:
                world = World({}, kafka, postgres, broker, {})
                try:
                    for name in names:
                        await _start(world, stack, name, a_folder(home / name))
                    yield world
                finally:
                    await asyncio.gather(*(asyncio.to_thread(_end, one) for one in world.services.values()))
    shutil.rmtree(home)


def between(port: int, framing: Callable[[], Framing]) -> Proxy:
    """In front of a port of this machine."""
    return Proxy(("127.0.0.1", port), framing)


async def _start(world: World, stack: LocalStack, name: str, folder: Path) -> None:
    url = None
    if name not in KEEPS_NOTHING:
        made = world.databases[name] = await asyncio.to_thread(stack.create_service_database, name)
        await migrate(name, made.owner_url)
        url = at(made.login_url, world.postgres.port)
    service = ServiceProcess(name, f"127.0.0.1:{world.kafka.port}", folder, url)
    service.start()
    world.services[name] = service
    await asyncio.to_thread(service.until_ready)


def _end(service: ServiceProcess) -> None:
    try:
        service.stop()
    finally:
        service.kill()


def at(url: str, port: int) -> str:
    """The address at another port of this machine."""
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{port}"))


def a_home() -> Path:
    """A folder that whoever Postgres runs as can pass: it refuses to run as root."""
    home = Path(tempfile.mkdtemp(prefix="dl-"))
    home.chmod(0o755)
    return home


def a_folder(path: Path) -> Path:
    """It exists."""
    path.mkdir()
    return path
