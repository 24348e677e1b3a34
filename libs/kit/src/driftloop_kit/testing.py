"""A service as a process of its own, for tests beside a real Kafka and a real Postgres."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import httpx

WITHIN_S: Final = 30.0
# What a service promises after SIGTERM.
ENDS_WITHIN_S: Final = 12.0
LOOK_S: Final = 0.05


class RunningService:
    """Its process, and a client of its door."""

    def __init__(self, process: asyncio.subprocess.Process, client: httpx.AsyncClient, log: Path) -> None:
        self.process = process
        self.client = client
        self.log = log

    async def report(self) -> dict[str, Any] | None:
        """What `/ready` says; None while nobody answers. Raises AssertionError once the process has ended."""
        import httpx

        try:
            return dict((await self.client.get("/ready")).json())
        except httpx.TransportError:
            ended = self.process.returncode
            assert ended is None, f"the service has ended with {ended}: {self.log.read_text()[-2000:]}"
            return None

    async def until(self, holds: Callable[[dict[str, Any]], bool], within_s: float = WITHIN_S) -> dict[str, Any]:
        """The report for which this holds. Raises AssertionError with the last one when it does not come in time."""
        report: dict[str, Any] | None = None
        try:
            async with asyncio.timeout(within_s):
                while (report := await self.report()) is None or not holds(report):  # noqa: ASYNC110  # another process
                    await asyncio.sleep(LOOK_S)
        except TimeoutError as error:
            raise AssertionError(f"not within {within_s:g} s; the last report was {report}") from error
        return report

    async def is_ready(self) -> dict[str, Any]:
        """Its report, once it is ready."""
        return await self.until(lambda report: bool(report["ready"]))

    async def end(self, within_s: float = ENDS_WITHIN_S) -> int:
        """SIGTERM; the exit code. Raises TimeoutError when it does not end in time."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(within_s):
            return await self.process.wait()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def running(
    module: str, log: Path, environment: dict[str, str], *, port: int | None = None
) -> AsyncIterator[RunningService]:
    """`python -m <module>` with these variables; killed at the end if it still runs.

    port: the same one for a service that is started again: it is the same member of its group then.
    """
    import httpx

    chosen = port or free_port()
    given = bare_environment() | {f"{module.upper()}_HTTP_PORT": str(chosen)} | environment
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", module, env=given, stdout=out, stderr=out)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{chosen}", timeout=5) as client:
            yield RunningService(process, client, log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def bare_environment() -> dict[str, str]:
    """Ours, without what was meant for another Driftloop."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DRIFTLOOP")}
