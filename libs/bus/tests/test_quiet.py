"""aiokafka may not fill the disk while a broker is away."""

from __future__ import annotations

import logging

import pytest

from driftloop_bus.kafka import KafkaLog


@pytest.mark.parametrize("name", ["aiokafka", "aiokafka.consumer.fetcher", "aiokafka.producer.sender"])
async def test_the_same_complaint_is_logged_once_in_a_while(name: str, caplog: pytest.LogCaptureFixture) -> None:
    KafkaLog("127.0.0.1:9", "quiet")
    for attempt in range(1000):
        logging.getLogger(name).error("unable to connect, attempt %s", attempt)
    logging.getLogger(name).error("something else")
    assert [record.getMessage() for record in caplog.records if record.name == name] == [
        "unable to connect, attempt 0",
        "something else",
    ]
