"""Dead letters on a real Kafka: listed, shown, and sent again to where they came from."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence

import pytest
from libs.client.tests.command import driftloop

from driftloop_bus.errors import BadMessage
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.parking import Killer, Parked
from driftloop_bus.ports import Outgoing, Record
from driftloop_bus.testing import everything

pytestmark = pytest.mark.stack
BAD = b"\x1b[2J not json \xff"
CE = (("ce_id", b"id-1"), ("ce_type", b"driftloop.outcome.observed.v1"), ("ce_source", b"/producers/shop"))


async def _sent(kafka: str, records: Sequence[Outgoing]) -> list[tuple[int, int]]:
    log = KafkaLog(kafka, "tests")
    try:
        return await (await log.producer()).send(records)
    finally:
        await log.close()


async def _on(kafka: str, topic: str) -> list[Record]:
    log = KafkaLog(kafka, "tests")
    try:
        return await everything(log, topic)
    finally:
        await log.close()


def sent(kafka: str, *records: Outgoing) -> list[tuple[int, int]]:
    return asyncio.run(_sent(kafka, records))


def on(kafka: str, topic: str) -> list[Record]:
    return asyncio.run(_on(kafka, topic))


def parked(kafka: str, record: Outgoing, error: Exception, group: str = "monitor") -> tuple[Record, int]:
    """The record is on its topic, and its letter on the group's; both, the letter by its offset."""
    ((partition, offset),) = sent(kafka, record)
    lying = Record(record.topic, partition, offset, 1_700_000_000_000, record.key, record.value, record.headers)
    ((_, letter),) = sent(kafka, Parked(lying, error, 3).letter(group, "0.1.0"))
    return lying, letter


@pytest.fixture(autouse=True)
def address(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTLOOP_KAFKA", kafka)


def test_before_anything_is_parked_there_is_nothing() -> None:
    assert driftloop("dead", "ls") == (0, "no dead letters\n", "")
    assert driftloop("dead", "redrive", "--all") == (0, "no dead letters\n", "")


def test_a_topic_without_dead_letters_is_refused_by_name() -> None:
    code, said, complained = driftloop("dead", "ls", "--topic", "nowhere.v1")
    assert (code, said) == (1, "")
    assert complained.startswith("driftloop: no dead letters of nowhere.v1 and any group")


def test_what_is_parked_is_listed_and_shown_and_a_terminal_obeys_none_of_it(kafka: str) -> None:
    record, letter = parked(kafka, Outgoing("outcomes.v1", b"m", BAD, CE), BadMessage("no \x1b[31mJSON"))
    code, said, _ = driftloop("dead", "ls", "--topic", "outcomes.v1", "--group", "monitor")
    assert code == 0
    assert re.search(rf"outcomes\.v1 +monitor +0:{letter} +2\S+ +{record.partition}@{record.offset} +BadMessage", said)
    code, said, _ = driftloop("dead", "show", "id-1")
    assert code == 0
    assert "\x1b" not in said
    assert f"from      outcomes.v1/{record.partition}@{record.offset}" in said
    assert "header    ce_source: /producers/shop" in said
    assert "message   no \\x1b[31mJSON" in said
    assert BAD[:4].hex(" ") in said
    (line,) = driftloop("dead", "ls", "--topic", "outcomes.v1", "--json")[1].splitlines()
    assert json.loads(line)["event_id"] == "id-1"


def test_a_letter_goes_back_untouched_and_marked_and_once(kafka: str) -> None:
    value = b'{"prediction_id": "p", "model": "m"}'
    record, letter = parked(kafka, Outgoing("predictions.v1", b"m", value, CE), ZeroDivisionError("one over none"))
    where = ("--topic", "predictions.v1", "--group", "monitor")
    assert driftloop("dead", "redrive", *where, "--all", "--dry-run") == (0, "1 would be redriven\n", "")
    assert len(on(kafka, "predictions.v1")) == 1
    assert driftloop("dead", "redrive", *where, "--offset", f"0:{letter}")[1] == "1 redriven\n"
    first, again = on(kafka, "predictions.v1")
    assert (again.partition, again.key, again.value) == (first.partition, first.key, first.value)
    assert again.headers[: len(CE)] == CE == first.headers
    marks = dict(again.headers[len(CE) :])
    assert marks["redriven_letter"] == f"predictions.v1.monitor.dead:0:{letter}".encode()
    assert marks["redriven_offset"] == str(record.offset).encode()
    code, said, _ = driftloop("dead", "redrive", *where, "--all")
    assert (code, said[:18]) == (0, "1 already redriven")
    assert len(on(kafka, "predictions.v1")) == 2
    assert driftloop("dead", "redrive", *where, "--all", "--again")[1] == "1 redriven\n"
    assert len(on(kafka, "predictions.v1")) == 3
    assert "no" not in driftloop("dead", "ls", *where)[1].splitlines()[1].split()[-1]


def test_what_killed_its_reader_is_read_where_it_lies(kafka: str) -> None:
    value = b'{"x": 1}'
    sent(kafka, *[Outgoing("observations.v1", b"v/e", b"{}", partition=2)] * 3)
    parked(kafka, Outgoing("observations.v1", b"v/e", value, CE, 2), Killer("died twice"), "feature_store")
    sent(kafka, Outgoing("observations.v1", b"v/e", b"{}", partition=2))
    said = driftloop("dead", "show", "0:0", "--topic", "observations.v1")[1]
    assert f"value     {len(value)} bytes of text, read where it lies" in said
    assert value.decode() in said
    assert driftloop("dead", "redrive", "--topic", "observations.v1", "--all")[1] == "1 redriven\n"
    assert on(kafka, "observations.v1")[-1].value == value


def test_a_state_that_was_replaced_stays_where_it_is(kafka: str) -> None:
    parked(kafka, Outgoing("declarations.v1", b"m", b"old", CE), BadMessage("odd"))
    sent(kafka, Outgoing("declarations.v1", b"other", b"new"))
    assert "would be" in driftloop("dead", "redrive", "--topic", "declarations.v1", "--all", "--dry-run")[1]
    sent(kafka, Outgoing("declarations.v1", b"m", b"new"))
    assert driftloop("dead", "redrive", "--topic", "declarations.v1", "--all")[1].startswith("1 superseded")
    assert [record.value for record in on(kafka, "declarations.v1")] == [b"old", b"new", b"new"]


def test_who_does_not_say_which_is_told_how(kafka: str) -> None:
    assert "say which letters" in driftloop("dead", "redrive")[2]
    assert "say which letters" in driftloop("dead", "redrive", "--all", "--offset", "1")[2]
    parked(kafka, Outgoing("drift.v1", b"m", b"x"), BadMessage("odd"), "registry")
    parked(kafka, Outgoing("retraining.v1", b"m", b"x"), BadMessage("odd"), "registry")
    code, _, complained = driftloop("dead", "show", "0:0")
    assert code == 1
    assert "0:0 means several letters" in complained
    assert "drift.v1.registry.dead:0:0" in complained
    assert "no letter 0:99: see `driftloop dead ls`" in driftloop("dead", "show", "0:99")[2]


def test_a_thousand_go_back_in_their_order(kafka: str) -> None:
    letters = [
        Parked(Record("candidates.v1", 0, n, 1, b"m", b"%d" % n, (("ce_id", b"%d" % n),)), BadMessage("odd")).letter(
            "monitor", ""
        )
        for n in range(1_000)
    ]
    sent(kafka, *letters)
    assert driftloop("dead", "redrive", "--topic", "candidates.v1", "--all")[1] == "1000 redriven\n"
    assert [int(record.value or b"") for record in on(kafka, "candidates.v1")] == list(range(1_000))


def test_nobody_answers_where_kafka_is_said_to_be() -> None:
    code, _, complained = driftloop("dead", "ls", DRIFTLOOP_KAFKA="127.0.0.1:1")
    assert code == 1
    assert complained.startswith("driftloop: Kafka at 127.0.0.1:1: ")
