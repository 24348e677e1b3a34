"""One Kafka broker with two doors: one that tests use, one behind a proxy, which clients are sent back to by the broker itself."""

from __future__ import annotations

import signal
import time
from asyncio.subprocess import Process
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from driftloop_bus.emptying import empty_topics
from driftloop_kit.testing import bare_environment
from driftloop_local import kafka
from driftloop_local.aot import aot_flags
from driftloop_local.children import end_child, start_child
from driftloop_local.jars import class_path, jar_folder
from driftloop_local.ports import free_port

READY_WITHIN_S: Final = 120.0


class Broker:
    """Running, with every topic of the catalogue, while the block runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port, self.port_behind, self._controller = (free_port(()) for _ in range(3))
        self._process: Process | None = None
        self.proxy_port = 0
        """Where the proxy in front of `port_behind` listens: to be told before the block begins."""

    @property
    def address(self) -> str:
        """Straight to the broker."""
        return f"127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        log, environment = self._folder / "kafka.log", bare_environment()
        kafka.write_settings(self._folder, self._port, self._controller)
        with (self._folder / "server.properties").open("a") as settings:
            # Of two lines with one name the later one holds.
            settings.write(self._doors())
        await kafka.format_storage(self._folder, class_path(jar_folder()), log, environment)
        command = kafka.broker_command(class_path(jar_folder()), aot_flags())
        self._process = await start_child(command, log, environment, self._folder, death_signal=signal.SIGKILL)
        deadline = time.monotonic() + READY_WITHIN_S
        while (reason := await kafka.why_not_answering(self.address)) is not None:
            assert time.monotonic() < deadline, reason
            assert self._process.returncode is None, f"the broker has ended: read {log}"
        await empty_topics(self.address)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._process is not None:
            await end_child(self._process, signal.SIGKILL, 10.0)

    def _doors(self) -> str:
        straight, behind = f"PLAINTEXT://127.0.0.1:{self._port}", "BEHIND://127.0.0.1"
        return f"""\
listeners={straight},{behind}:{self.port_behind},CONTROLLER://127.0.0.1:{self._controller}
advertised.listeners={straight},{behind}:{self.proxy_port}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,BEHIND:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
"""
