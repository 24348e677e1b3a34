"""Three Kafka nodes, each broker and controller, that can be killed one by one: leaders move, and fewer than enough are in sync."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from driftloop_local import kafka
from driftloop_local.aot import aot_flags
from driftloop_local.children import dies_with_parent, run_to_its_end
from driftloop_local.jars import class_path, jar_folder
from driftloop_local.ports import free_port

NODES: Final = (1, 2, 3)
READY_WITHIN_S: Final = 120.0
LOOK_S: Final = 0.02
# What one node can't have: copies, and a quorum that notices the death of its leader about as soon as that of a broker.
OF_THREE: Final = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    # Where the dead node was both, its brokers' session begins only once the next controller is elected: both count.
    "broker.session.timeout.ms": "1500",
    "broker.heartbeat.interval.ms": "300",
    "controller.quorum.fetch.timeout.ms": "1000",
    "controller.quorum.election.timeout.ms": "500",
}


class Cluster:
    """Running and whole while the block runs; its nodes keep their ports and data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        taken: set[int] = set()
        for _ in range(2 * len(NODES)):
            taken.add(free_port(taken))
        ports = sorted(taken)
        self.ports = dict(zip(NODES, ports[: len(NODES)], strict=True))
        self._controllers = dict(zip(NODES, ports[len(NODES) :], strict=True))
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def bootstrap(self) -> str:
        """All three: whoever is asked knows the others."""
        return ",".join(f"127.0.0.1:{port}" for port in self.ports.values())

    def __enter__(self) -> Self:
        asyncio.run(self._format())
        try:
            for node in NODES:
                self.start(node)
            for node in NODES:
                self.until_open(node)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def start(self, node: int) -> None:
        """Its process runs."""
        command = kafka.broker_command(class_path(jar_folder()), aot_flags())
        with (self._folder / f"node-{node}.log").open("ab") as log:
            self._running[node] = subprocess.Popen(
                command, cwd=self._of(node), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                preexec_fn=dies_with_parent(signal.SIGKILL),
            )  # fmt: skip

    def kill(self, node: int) -> float:
        """SIGKILL; when."""
        process = self._running.pop(node)
        process.kill()
        killed_at = time.time()
        process.wait()
        return killed_at

    def until_open(self, *nodes: int) -> float:
        """When the first of these answered: it has joined its cluster and may serve. Raises AssertionError when none does."""
        deadline = time.monotonic() + READY_WITHIN_S
        while not any(self._answers(node) for node in nodes):
            ended = [node for node in nodes if self._running[node].poll() is not None]
            assert not ended, f"nodes {ended} have ended: read {self._folder}"
            assert time.monotonic() < deadline, f"none of {nodes} answers"
            time.sleep(LOOK_S)
        return time.time()

    def _answers(self, node: int) -> bool:
        return asyncio.run(kafka.why_not_answering(f"127.0.0.1:{self.ports[node]}")) is None

    def leader(self, topic: str, partition: int) -> int:
        """Who leads the partition."""
        return int(self._partitions(topic)[partition]["leader"])

    def until_whole(self, *topics: str) -> None:
        """Every partition of these is in sync on all three. Raises AssertionError when it is not in time."""
        deadline = time.monotonic() + READY_WITHIN_S
        while not all(self._in_sync(topic) for topic in topics):
            assert time.monotonic() < deadline, f"{topics} are not in sync on all nodes"
            time.sleep(0.2)

    def _in_sync(self, topic: str) -> bool:
        try:
            return all(sorted(one["isr"]) == list(NODES) for one in self._partitions(topic).values())
        except (KafkaError, TimeoutError):
            return False

    def _partitions(self, topic: str) -> dict[int, Any]:
        async def asked(admin: AIOKafkaAdminClient) -> Any:
            return await admin.describe_topics([topic])

        (found,) = asyncio.run(_administered(self.bootstrap, asked))
        return {one["partition"]: one for one in found["partitions"]}

    async def _format(self) -> None:
        voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in self._controllers.items())
        cluster = kafka.cluster_id()
        for node in NODES:
            kafka.write_settings(self._of(node), self.ports[node], self._controllers[node])
            settings = self._of(node) / "server.properties"
            own = OF_THREE | {"node.id": str(node), "controller.quorum.voters": voters}
            # Of two lines with one name the later one holds.
            settings.write_text(settings.read_text() + "".join(f"{name}={value}\n" for name, value in own.items()))
        codes = await asyncio.gather(*(self._formatted(node, cluster) for node in NODES))
        assert codes == [0] * len(NODES), f"no storage: read {self._folder}/format-*.log"

    async def _formatted(self, node: int, cluster: str) -> int | None:
        words = (kafka.STORAGE_TOOL, "format", "--cluster-id", cluster, "--config", "server.properties")
        command = (str(kafka.java()), *kafka.JAVA_FLAGS, "-cp", class_path(jar_folder()), *words)
        log = self._folder / f"format-{node}.log"
        return await run_to_its_end(command, log, dict(os.environ), self._of(node), kafka.FORMAT_WITHIN_S)

    def _of(self, node: int) -> Path:
        return self._folder / f"node-{node}"

    def _end(self) -> None:
        for node in list(self._running):
            self.kill(node)


async def _administered(bootstrap: str, ask: Callable[[AIOKafkaAdminClient], Awaitable[Any]]) -> Any:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5000)
    try:
        async with asyncio.timeout(10):
            await admin.start()
            return await ask(admin)
    finally:
        await admin.close()
