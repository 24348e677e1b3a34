"""How long the broker may take, and what is said when it takes longer: nobody waits for it without a bound."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import IllegalStateError, KafkaError

from driftloop_bus.errors import TryAgain

# The delivery limit as well: a leader move takes up to 14 s.
REQUEST_MS: Final = 30_000
SEND_DEADLINE_S: Final = 30.0
START_DEADLINE_S: Final = 15.0
ANSWER_DEADLINE_S: Final = 5.0


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
    """Stopped, or left behind when the broker does not let it go."""
    try:
        await asyncio.wait_for(client.stop(), ANSWER_DEADLINE_S)
    except (TimeoutError, KafkaError) as error:
        logging.getLogger(__name__).warning("a Kafka client was left behind: %s", said(error))


def said(error: BaseException) -> str:
    """The error in words, its kind first: many of aiokafka's have no others."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
