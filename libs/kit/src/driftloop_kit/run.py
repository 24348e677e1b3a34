"""From a `Service` to a running process: opened in order, watched, drained, closed in reverse."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import Final, TypeVar

from driftloop_bus.ports import Log
from driftloop_bus.quarantine import Trial
from driftloop_kit.database import open_database, plain_url
from driftloop_kit.health import Health
from driftloop_kit.http.app import build_app
from driftloop_kit.http.server import listening_socket, serve
from driftloop_kit.ledger import PostgresLedger
from driftloop_kit.memory import hold_little, keep_trimmed
from driftloop_kit.organs import Organs
from driftloop_kit.pulse import until_database_fits, watch
from driftloop_kit.service import Context, Service
from driftloop_kit.tasks import Tasks
from driftloop_kit.telemetry import Telemetry
from driftloop_kit.tidying import keep_tidy
from driftloop_kit.turning import keep_turning

H = TypeVar("H")
# After SIGTERM: what is in flight may finish (the time of draining included), then the outbox is flushed. With what
# resists, a second each, it stays below the 12 s of the promise.
FINISH_S: Final = 5.0
FLUSH_S: Final = 2.0
CLOSE_S: Final = 0.5


async def run_service(service: Service[H], log: Log | None = None, trial: Trial | None = None) -> None:
    """Runs until SIGTERM or SIGINT, then drains and returns.

    Answers HTTP at once, waits (not ready, with the reason) for Postgres and its tables, for Kafka and its topics, then
    runs consumer, relay, jobs and background work. Raises what ended one of them, after draining the others.
    log: another than the settings' Kafka, for tests. trial: see `driftloop_bus.quarantine`.
    """
    hold_little()
    telemetry = Telemetry(service.name)
    bound = listening_socket(service.settings.http_host, service.settings.http_port)
    context = await open_context(service, telemetry, log or kafka_log(service))
    organs = Organs.of(service, context, trial)
    app = build_app(service, context, telemetry)
    telemetry.log.info("starting", address=bound.getsockname()[:2], **shown(service))

    tasks, answered = Tasks(context.stopping, telemetry), asyncio.Event()
    catch_signals(context.stopping)
    tasks.start("http", serve(app, bound, answered, FINISH_S))
    tasks.start("life", live(service, context, organs, tasks))
    await context.stopping.wait()
    await drain(context, organs, tasks, answered)
    await close(context)
    tasks.raise_failure()


async def open_context(service: Service[H], telemetry: Telemetry, log: Log) -> Context[H]:
    """Complete before anything answers; nothing is connected yet."""
    context: Context[H] = Context(service.name, service.settings, log, Health(), service.handlers, telemetry=telemetry)
    if service.settings.database_url is not None and service.handlers is not None:
        database = await open_database(plain_url(service.settings.database_url))
        context.ledger = PostgresLedger(database, service.name)
        context.health.fact("outbox_pending", lambda: context.ledger and context.ledger.pending)
    elif service.handlers is not None:
        service.settings.needed("database_url")
    context.health.fact("positions", lambda: context.positions())
    context.health.say("start", False, "starting")
    return context


def kafka_log(service: Service[H]) -> Log:
    """The settings' Kafka; nothing is connected yet."""
    from driftloop_bus.kafka import KafkaLog

    # One place, one member of the group: it takes its partitions back at once after a crash.
    port = service.settings.http_port
    return KafkaLog(service.settings.kafka, service.name, instance=f"{socket.gethostname()}-{port}" if port else None)


async def live(service: Service[H], context: Context[H], organs: Organs[H], tasks: Tasks) -> None:
    """Everything runs once the database fits; returns when all has been started."""
    tasks.start_background("turning", keep_turning())
    tasks.start_background("trimming", keep_trimmed())
    if context.ledger is not None:
        await until_database_fits(context, context.ledger)
        tasks.start("tidying", keep_tidy(service.name, context.ledger))
    for name, work in organs.all_runs():
        tasks.start(name, work)
    for background in service.background:
        tasks.start_background(getattr(background, "__name__", "background"), background(context))
    tasks.start_background("watch", watch(context, organs))


async def drain(context: Context[H], organs: Organs[H], tasks: Tasks, answered: asyncio.Event) -> None:
    """Not ready any more; what is in flight is finished or given back, the outbox flushed, the group left."""
    context.health.say("stopping", False, "stopping")
    await asyncio.sleep(context.settings.drain_s)
    tasks.cancel("life")
    answered.set()
    organs.stop()
    await tasks.settle({"http", *organs.names()}, max(1.0, FINISH_S - context.settings.drain_s))
    await tasks.cancel_background(CLOSE_S)
    if organs.relay is not None:
        organs.relay.stop()
        await tasks.settle({"relay"}, FLUSH_S)
    await tasks.cancel_all(CLOSE_S)


async def close(context: Context[H]) -> None:
    """Connections are gone."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await context.log.close()
    except TimeoutError:
        context.telemetry.log.warning("kafka_did_not_close")
    if context.ledger is not None:
        await context.ledger.close()


def catch_signals(stopping: asyncio.Event) -> None:
    """SIGTERM and SIGINT ask to stop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)


def shown(service: Service[H]) -> dict[str, object]:
    """The settings without secrets."""
    return service.settings.model_dump(mode="json", exclude={"database_url", "api_key"})
