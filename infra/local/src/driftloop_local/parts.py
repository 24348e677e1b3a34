"""The parts of a stack as child processes: what each is started with, and how it says that it is ready."""

import json
import os
import signal
import sys
from collections.abc import Mapping
from functools import partial
from typing import Final

import httpx

from driftloop_local import kafka, postgres
from driftloop_local.aot import aot_flags
from driftloop_local.home import Home
from driftloop_local.jars import class_path, jar_folder
from driftloop_local.keeper import Part, Probe
from driftloop_local.record import Record
from driftloop_local.services import KAFKA, POSTGRES, Service

READY_WITHIN_S: Final = 2.0
MAX_REASON: Final = 300


def inherited_environment() -> dict[str, str]:
    """Ours, without the administrator's address: that is for the supervisor and its jobs alone."""
    return {name: value for name, value in os.environ.items() if name != "DRIFTLOOP_POSTGRES"}


def kafka_part(home: Home, ports: Mapping[str, int]) -> Part:
    environment, jars = inherited_environment(), class_path(jar_folder())
    port, controller_port = ports[KAFKA], ports["kafka-controller"]

    async def prepare() -> None:
        kafka.write_settings(home.kafka, port, controller_port)
        await kafka.format_storage(home.kafka, jars, home.log(KAFKA), environment)

    address = f"127.0.0.1:{port}"
    return Part(
        name=KAFKA,
        command=lambda: kafka.broker_command(jars, aot_flags()),
        environment=environment,
        folder=home.kafka,
        why_not_ready=partial(kafka.why_not_answering, address),
        address=address,
        prepare=prepare,
    )


def postgres_part(home: Home, ports: Mapping[str, int]) -> Part:
    environment, password, user = inherited_environment(), home.secret(POSTGRES), postgres.run_as()

    async def prepare() -> None:
        postgres.make_reachable(home.postgres, user)
        await postgres.initialise(home.postgres, user, password, home.log(POSTGRES), environment)
        postgres.forget_the_dead(home.postgres / "data")

    address = postgres.address_of(postgres.ADMINISTRATOR, password, ports[POSTGRES], "postgres")
    return Part(
        name=POSTGRES,
        command=lambda: postgres.server_command(ports[POSTGRES]),
        environment=environment,
        folder=home.postgres,
        why_not_ready=partial(postgres.why_not_answering, address),
        address=address,
        prepare=prepare,
        run_as=user,
        # The fast shutdown: SIGTERM would wait for every client to leave.
        stop_signal=signal.SIGINT,
    )


def service_part(service: Service, home: Home, record: Record, environment: Mapping[str, str]) -> Part:
    address = f"http://127.0.0.1:{record.ports[service.name]}" if service.ready_path else None
    return Part(
        name=service.name,
        command=lambda: (sys.executable, "-m", service.module, *service.arguments),
        environment=environment,
        folder=home.data(service.name),
        why_not_ready=asks(f"{address}{service.ready_path}") if address else lives,
        address=address,
    )


def service_environment(service: Service, home: Home, record: Record, code_path: str) -> dict[str, str]:
    """All that the service is told, but for the address of its database."""
    return inherited_environment() | {
        f"{service.prefix}_HTTP_HOST": "127.0.0.1",
        # Settings want a port; 0 for a process that opens no door.
        f"{service.prefix}_HTTP_PORT": str(record.ports.get(service.name, 0)),
        "DRIFTLOOP_MODE": "local",
        "DRIFTLOOP_HOME": str(home.folder),
        "DRIFTLOOP_KAFKA": str(record.kafka),
        "DRIFTLOOP_ARTIFACTS": home.artifacts.as_uri(),
        "DRIFTLOOP_HISTORY": home.history.as_uri(),
        "DRIFTLOOP_DATA": str(home.data(service.name)),
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{record.ports['registry']}",
        "RETRAINER_CODE_PATH": code_path or os.environ.get("RETRAINER_CODE_PATH", ""),
        # Many processes on few cores: a pool of threads in each costs more than it gives.
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }


async def lives() -> str | None:
    return None


def asks(url: str) -> Probe:
    """Ready is who answers 200 there; anything else is the reason why not."""

    # One for the life of the part: each builds a TLS context. No proxy stands between us and our own loopback.
    client = httpx.AsyncClient(timeout=READY_WITHIN_S, trust_env=False)

    async def why_not_ready() -> str | None:
        try:
            answer = await client.get(url)
        except httpx.TransportError as error:
            return f"{url}: {error or type(error).__name__}"
        return None if answer.status_code == 200 else f"{url}: {answer.status_code} {reasons_in(answer.text)}"

    return why_not_ready


def reasons_in(body: str) -> str:
    """The `reasons` that our services give by part; of any other body its beginning."""
    try:
        reasons = json.loads(body)["reasons"]
        return "; ".join(f"{part}: {reason}" for part, reason in reasons.items())
    except (ValueError, KeyError, TypeError, AttributeError):
        return body[:MAX_REASON]
