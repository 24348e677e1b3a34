"""The one parent of all parts. Killing it stops everything; the next `up` resumes from the folder.

`python -m driftloop_local.supervisor`, for the folder that `DRIFTLOOP_HOME` names; `up` does that.
"""

import asyncio
import fcntl
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from driftloop_local import kafka, parts, postgres
from driftloop_local.aot import aot_cache, train_aot_cache
from driftloop_local.children import end_leftovers, identity_of
from driftloop_local.databases import ServiceDatabase
from driftloop_local.errors import StackRefused
from driftloop_local.home import Home
from driftloop_local.jars import class_path, jar_folder
from driftloop_local.jobs import Jobs
from driftloop_local.keeper import Keeper, Part, Probe
from driftloop_local.ports import choose_ports
from driftloop_local.record import Board, Record, read_record
from driftloop_local.services import KAFKA, PORT_NAMES, POSTGRES, SERVICE_OF, Service
from driftloop_local.wanted import Wanted, read_wanted

LOOK_EVERY_S: Final = 0.2
LEFTOVERS_WITHIN_S: Final = 5.0
ALREADY_RUNNING: Final = 3
log = logging.getLogger("driftloop.supervisor")


class Supervisor:
    """Brings up what is wanted, in order, and keeps it up until told to stop."""

    def __init__(self, home: Home, ports: dict[str, int]) -> None:
        self.stopping = asyncio.Event()
        self._home = home
        self._board = Board(
            home,
            Record(
                supervisor=identity_of(os.getpid()),
                ports=ports,
                artifacts=home.artifacts.as_uri(),
                history=home.history.as_uri(),
            ),
        )
        self._jobs = Jobs(home, self._board)
        self._keepers: dict[str, Keeper] = {}
        self._keeping = asyncio.TaskGroup()
        self._starting = asyncio.TaskGroup()
        self._answering = {KAFKA: asyncio.Event(), POSTGRES: asyncio.Event()}
        self._begun: set[str] = set()
        self._topics: asyncio.Task[None] | None = None
        self._databases: dict[str, asyncio.Task[ServiceDatabase]] = {}
        self._code_path = ""

    async def run(self) -> None:
        """Returns once `stopping` is set and every part is gone."""
        async with self._keeping:
            starting = self._keeping.create_task(self._follow_wishes())
            try:
                await self.stopping.wait()
            finally:
                starting.cancel()
                await asyncio.wait([starting])
                await self._end_all()
        self._board.change(supervisor=None)

    async def _follow_wishes(self) -> None:
        """Whatever is wanted and was not begun yet is begun, now and later."""
        seen = 0
        async with self._starting:
            while True:
                changed = self._home.wanted.stat().st_mtime_ns
                if changed != seen:
                    seen = changed
                    self._begin(read_wanted(self._home))
                await asyncio.sleep(LOOK_EVERY_S)

    def _begin(self, wanted: Wanted) -> None:
        self._code_path = wanted.code_path
        fresh = [name for name in wanted.parts if name not in self._begun]
        self._begun.update(fresh)
        services = [SERVICE_OF[name] for name in fresh if name in SERVICE_OF]
        absent = [service.name for service in services if not service.is_installed]
        self._board.change(missing=(*self._board.record.missing, *absent))
        if KAFKA in fresh:
            self._starting.create_task(self._start_kafka())
        if POSTGRES in fresh:
            self._starting.create_task(self._start_postgres())
        for service in services:
            if service.is_installed:
                self._board.tell(service.name, "waiting", reason="for Kafka, Postgres, topics and its database")
                self._starting.create_task(self._start_service(service))

    async def _start_kafka(self) -> None:
        given = os.environ.get("DRIFTLOOP_KAFKA")
        if given:
            await self._await_external(KAFKA, given, lambda: kafka.why_not_answering(given))
        else:
            await self._keep_answering(parts.kafka_part(self._home, self._board.record.ports))
            await self._train()

    async def _start_postgres(self) -> None:
        given = os.environ.get("DRIFTLOOP_POSTGRES")
        if given:
            await self._await_external(POSTGRES, given, lambda: postgres.why_not_answering(given))
        else:
            await self._keep_answering(parts.postgres_part(self._home, self._board.record.ports))

    async def _keep_answering(self, part: Part) -> None:
        """Kafka or Postgres of our own: whoever waits for it goes on once it answers."""
        self._board.change(**{part.name: part.address})
        await self._keep(part)
        self._answering[part.name].set()

    async def _await_external(self, name: str, address: str, why_not: Probe) -> None:
        """A part that somebody else runs: waited for, never started."""
        self._board.change(**{name: address})
        while reason := await why_not():
            self._board.tell(name, "waiting", address=address, reason=reason, log=None)
            await asyncio.sleep(LOOK_EVERY_S)
        self._board.tell(name, "external", address=address, log=None)
        self._answering[name].set()

    async def _start_service(self, service: Service) -> None:
        await asyncio.gather(*(answering.wait() for answering in self._answering.values()))
        self._home.data(service.name).mkdir(parents=True, exist_ok=True)
        record = self._board.record
        environment = parts.service_environment(service, self._home, record, self._code_path)
        self._topics = self._topics or self._starting.create_task(self._jobs.topics(str(record.kafka)))
        if service.has_database:
            database = await self._database(service.module, environment)
            environment[f"{service.prefix}_DATABASE_URL"] = database.login_url
        await self._topics
        await self._keep(parts.service_part(service, self._home, record, environment))

    async def _database(self, module: str, environment: Mapping[str, str]) -> ServiceDatabase:
        """Made and migrated once, however many processes of the service ask for it."""
        if module not in self._databases:
            job = self._jobs.database(module, str(self._board.record.postgres), environment)
            self._databases[module] = self._starting.create_task(job)
        return await self._databases[module]

    async def _keep(self, part: Part) -> None:
        """Returns when the part is ready for the first time; it is kept from then on."""
        keeper = self._keepers[part.name] = Keeper(part, self._home, self._board)
        self._keeping.create_task(keeper.keep())
        await keeper.was_ready.wait()
        log.info("%s is ready", part.name)

    async def _train(self) -> None:
        """Once everything else has had the cores for itself, the next start of Kafka is made quicker."""
        if aot_cache().exists():
            return
        await self._board.until(lambda record: all(status.is_up for status in record.parts.values()))
        jars, output = class_path(jar_folder()), self._home.log("kafka-aot")
        try:
            made = await train_aot_cache(self._home.folder / "aot", jars, output, parts.inherited_environment())
        except (StackRefused, OSError) as error:
            log.warning("no ahead-of-time cache for Kafka: %s", error)
        else:
            log.info("ahead-of-time cache for Kafka %s", "made" if made else f"not made, see {output}")

    async def _end_all(self) -> None:
        """Services first, then what they stand on."""
        services = [keeper for name, keeper in self._keepers.items() if name in SERVICE_OF]
        below = [keeper for name, keeper in self._keepers.items() if name not in SERVICE_OF]
        await asyncio.gather(*(keeper.stop() for keeper in services))
        await asyncio.gather(*(keeper.stop() for keeper in below))


async def supervise(home: Home) -> None:
    before = read_record(home)
    left = [status.identity for status in before.parts.values() if status.identity is not None]
    end_leftovers(left, LEFTOVERS_WITHIN_S)
    supervisor = Supervisor(home, choose_ports(PORT_NAMES, before.ports))
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(name, supervisor.stopping.set)
    await supervisor.run()


@contextmanager
def alone(home: Home) -> Iterator[bool]:
    """Whether this is the only supervisor of the folder; it stays so while the context is open."""
    with home.lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    home = Home.here()
    home.create()
    with alone(home) as is_alone:
        if not is_alone:
            sys.exit(ALREADY_RUNNING)
        log.info("supervisor %d of %s", os.getpid(), home.folder)
        asyncio.run(supervise(home))
        log.info("everything is stopped")


if __name__ == "__main__":
    main()
