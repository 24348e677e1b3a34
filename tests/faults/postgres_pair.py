"""Two Postgres servers, one of which copies the other at each commit; which is which changes."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from asyncio.subprocess import Process
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from tests.faults import postgres_parts

from driftloop_kit.testing import bare_environment, free_port
from driftloop_local import postgres
from driftloop_local.children import end_child, run_to_its_end, start_child

PASSWORD: Final = "of-this-check-alone"
WITHIN_S: Final = 60.0
STREAMING: Final = "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = $1"
# Sessions that write, and how far the copy is behind.
WRITING: Final = (
    "SELECT count(*) FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND backend_type = 'client backend'"
)
BEHIND: Final = (
    "SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_flush_lsn(), flush_lsn)), 1) FROM pg_stat_replication"
)


@dataclass
class Server:
    """One of the two: a folder, a port, and its process once it was started."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: Process | None = None

    @property
    def url(self) -> str:
        """The administrator's address."""
        return postgres.address_of(postgres.ADMINISTRATOR, PASSWORD, self.port, "postgres")

    @property
    def pid(self) -> int:
        """Of its parent process."""
        assert self.process is not None
        return self.process.pid

    async def initialise(self) -> None:
        """An empty cluster."""
        self._folder()
        await postgres.initialise(self.folder, postgres.run_as(), PASSWORD, self._log, bare_environment())

    async def copy(self, primary: Server) -> None:
        """Whatever was here is gone: a standby of the other one, as `pg_basebackup` makes it."""
        self._folder()
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        program = str(postgres.programs() / "pg_basebackup")
        words = (program, "-d", primary.url, "-D", "data", "-R", "-X", "stream", "-c", "fast")
        code = await run_to_its_end(words, self._log, bare_environment(), self.folder, WITHIN_S, postgres.run_as())
        assert code == 0, self._log.read_text()[-2000:]

    async def start(self) -> None:
        """It answers."""
        self.process = await start_child(
            postgres.server_command(self.port), self._log, bare_environment(), self.folder, postgres.run_as()
        )
        await postgres_parts.until_answers(self.url, WITHIN_S)

    async def ask(self, query: str, *arguments: Any) -> Any:
        """The first value of its answer."""
        connection = await asyncpg.connect(self.url, timeout=10)
        try:
            return await connection.fetchval(query, *arguments, timeout=WITHIN_S)
        finally:
            connection.terminate()

    async def set(self, name: str, value: str) -> None:
        """The setting holds from now on, for sessions that are there too."""
        await self.ask(f"ALTER SYSTEM SET {name} = {value}")
        await self.ask("SELECT pg_reload_conf()")

    async def until(self, query: str, wanted: Any, *arguments: Any) -> None:
        """It answers so. Raises AssertionError when it does not in time."""
        deadline = time.monotonic() + WITHIN_S
        while (said := await self.ask(query, *arguments)) != wanted:
            assert time.monotonic() < deadline, f"{query} gives {said!r}, not {wanted!r}"
            await asyncio.sleep(0.1)

    async def promote(self) -> float:
        """A standby until now, it writes; since when, in seconds of `time.time`."""
        assert await self.ask("SELECT pg_promote(true, 60)")
        return time.time()

    async def end(self) -> None:
        """Nothing of it runs, also when it stood still."""
        if self.process is not None:
            for process in postgres_parts.family(self.pid) if self.process.returncode is None else []:
                process.kill()
            await end_child(self.process, signal.SIGKILL, 10.0)
            self.process = None

    @property
    def _log(self) -> Path:
        return self.folder.with_suffix(".log")

    def _folder(self) -> None:
        self.folder.mkdir(exist_ok=True)
        postgres.make_reachable(self.folder, postgres.run_as())


async def follow(primary: Server, standby: Server) -> None:
    """The second is a copy of the first, and no commit is answered before the copy has it."""
    await standby.copy(primary)
    await standby.start()
    await primary.until(STREAMING, True, "async")
    await primary.set("synchronous_standby_names", "'*'")
    await primary.until(STREAMING, True, "sync")


async def retire(primary: Server) -> None:
    """It takes no writes any more, and its copy has all of them."""
    await primary.set("default_transaction_read_only", "on")
    await primary.until(WRITING, 0)
    await primary.until(BEHIND, 0)


def at_both(url: str, *servers: Server) -> str:
    """The address with both hosts in it."""
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    places = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return urlunsplit(parts._replace(netloc=f"{user}@{places}"))
