"""How long the broker may take, and what is said when it takes longer: nobody waits for it without a bound."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.producer.message_accumulator import MessageAccumulator

from driftloop_bus.errors import TryAgain

# The delivery limit as well: a leader move takes up to 14 s.
REQUEST_MS: Final = 30_000
SEND_DEADLINE_S: Final = 30.0
START_DEADLINE_S: Final = 15.0
ANSWER_DEADLINE_S: Final = 5.0
CANCELS: Final = 3
CANCEL_S: Final = 0.2


async def in_time(work: Coroutine[Any, Any, Any], within_s: float = ANSWER_DEADLINE_S) -> Any:
    """The result. Raises TryAgain when it fails or is late."""
    try:
        return await asyncio.wait_for(work, within_s)
    except TimeoutError as error:
        raise TryAgain(f"the broker does not answer within {within_s:g} s") from error
    except (KafkaError, IllegalStateError, OSError) as error:
        raise TryAgain(f"the broker is away or refuses: {said(error)}") from error


@asynccontextmanager
async def started(client: AIOKafkaProducer | AIOKafkaConsumer) -> AsyncIterator[None]:
    """Connected in the block and after it; stopped when connecting or the block fails. Raises TryAgain as `in_time`."""
    whole = False
    try:
        await in_time(client.start(), START_DEADLINE_S)
        yield
        whole = True
    finally:
        if not whole:
            await ended(client)


async def ended(client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    """Stopped, or cut off when the broker does not let it go. Either way it does nothing any more."""
    try:
        await asyncio.wait_for(client.stop(), ANSWER_DEADLINE_S)
    except (TimeoutError, KafkaError) as error:
        logging.getLogger(__name__).warning("a Kafka client was cut off: %s", said(error))
        await _cut_off(client)


async def _cut_off(client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    """Left running it would send, once its broker is back, what was given up and sent again by another: old after new."""
    if isinstance(client, AIOKafkaProducer):
        _give_up(client._message_accumulator)
        tasks, network = [client._sender and client._sender.sender_task], client.client
    else:
        tasks, network = _tasks_of(client), client._client
    running = {task for task in tasks if task is not None and not task.done()}
    # A sender that is cancelled waits for its requests, which end with their connection; at the next time it lets them go.
    for _ in range(CANCELS):
        for task in running:
            task.cancel()
        await asyncio.wait({asyncio.create_task(network.close()), *running}, timeout=CANCEL_S)
        running = {task for task in running if not task.done()}


def _give_up(batches: MessageAccumulator) -> None:
    """Whoever still waits for one of them is told."""
    given_up = [*batches._pending_batches, *(batch for queue in batches._batches.values() for batch in queue)]
    batches.fail_all(KafkaError("given up"))
    for batch in given_up:
        # Nobody waits for a place in it any more.
        if batch._drain_waiter.done():
            batch._drain_waiter.exception()


def _tasks_of(consumer: AIOKafkaConsumer) -> list[asyncio.Task[None] | None]:
    fetcher, coordinator = consumer._fetcher, consumer._coordinator
    fetching = [fetcher._fetch_task, *fetcher._pending_tasks] if fetcher is not None else []
    names = ("_coordination_task", "_heartbeat_task", "_commit_refresh_task", "_reset_committed_task")
    return fetching + [getattr(coordinator, name, None) for name in names]


def said(error: BaseException) -> str:
    """The error in words, its kind first: many of aiokafka's have no others."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
