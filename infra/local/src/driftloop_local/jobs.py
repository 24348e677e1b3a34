"""Jobs that run to their end before services start: topics, databases, migrations. Each is repeated until it succeeds."""

import asyncio
import sys
from collections.abc import Mapping
from typing import Final

import asyncpg

from driftloop_local.children import run_to_its_end
from driftloop_local.databases import ServiceDatabase, ensure_database
from driftloop_local.home import Home
from driftloop_local.parts import inherited_environment
from driftloop_local.record import Board

JOB_WITHIN_S: Final = 120.0
AGAIN_AFTER_S: Final = (0.5, 1.0, 2.0, 5.0)


class Jobs:
    """The jobs of one stack; how each fares stands on the board."""

    def __init__(self, home: Home, board: Board) -> None:
        self._home = home
        self._board = board
        # CREATE DATABASE copies a template that nobody else may be copying at that moment.
        self._one_database_at_a_time = asyncio.Lock()

    async def topics(self, kafka_address: str) -> None:
        """Returns once the topics of the catalogue are there."""
        command = (sys.executable, "-m", "driftloop_local.topics", kafka_address)
        await self._until_done("topics", command, inherited_environment())

    async def database(self, module: str, administrator_url: str, environment: Mapping[str, str]) -> ServiceDatabase:
        """The service's database with its newest schema. environment: the service's own."""
        database = await self._created(module, administrator_url)
        environment = {**environment, f"{module.upper()}_DATABASE_URL": database.owner_url}
        await self._until_done(f"{module}-migrate", (sys.executable, "-m", module, "migrate"), environment)
        return database

    async def _created(self, module: str, administrator_url: str) -> ServiceDatabase:
        passwords = self._home.secret(f"{module}_owner"), self._home.secret(module)
        while True:
            try:
                async with self._one_database_at_a_time:
                    return await ensure_database(administrator_url, module, *passwords)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                # Postgres may be gone for a moment; it is brought back meanwhile.
                self._board.tell(f"{module}-migrate", "failed", reason=f"no database: {error}")
            await asyncio.sleep(AGAIN_AFTER_S[0])

    async def _until_done(self, name: str, command: tuple[str, ...], environment: Mapping[str, str]) -> None:
        log, failures = self._home.log(name), 0
        while True:
            self._board.tell(name, "starting", restarts=failures)
            code = await run_to_its_end(command, log, environment, self._home.folder, JOB_WITHIN_S)
            if code == 0:
                return self._board.tell(name, "done")
            failures += 1
            self._board.tell(name, "failed", restarts=failures, reason=f"exit {code}, see {log}")
            await asyncio.sleep(AGAIN_AFTER_S[min(failures, len(AGAIN_AFTER_S)) - 1])
