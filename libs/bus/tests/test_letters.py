"""A dead letter, read back: what was parked, why, and the record as it goes to its topic again."""

from __future__ import annotations

import pytest
from libs.bus.tests.test_runner import NOON, command

from driftloop_bus.codec import encode
from driftloop_bus.errors import BadMessage, Position
from driftloop_bus.letters import Letter, Mark, again, mark, marked, read, standing
from driftloop_bus.origin import first_logged_ms, first_position
from driftloop_bus.parking import Killer, Parked
from driftloop_bus.ports import Outgoing, Record
from driftloop_bus.reading import read_batch
from driftloop_contracts import derived_id, first
from driftloop_contracts.control_plane import ModelRetired

VALUE = b'{"prediction_id": "p1", "model": "m", "features": {"x": 1}}'
PLACE = Position("predictions.v1", 2, 41)


def lying(sent: Outgoing, offset: int, timestamp_ms: int = 7) -> Record:
    """The record as a log holds it."""
    return Record(sent.topic, sent.partition or 0, offset, timestamp_ms, sent.key, sent.value, sent.headers)


def bare(value: bytes | None = VALUE, *headers: tuple[str, bytes]) -> Record:
    return Record("predictions.v1", 2, 41, 1_000_000, b"m", value, headers)


def parked(record: Record, error: BaseException, offset: int = 17) -> Letter:
    letter = read(lying(Parked(record, error, 3).letter("monitor", "1.2"), offset, 99))
    assert isinstance(letter, Letter)
    return letter


def test_a_letter_says_where_the_record_lay_and_why_it_was_parked() -> None:
    letter = parked(bare(VALUE, ("x", b"\xff")), ZeroDivisionError("one over none"))
    assert letter.original == bare(VALUE, ("x", b"\xff"))
    assert letter.name == "predictions.v1.monitor.dead:0:17"
    assert letter.about["error"] == "ZeroDivisionError"
    assert letter.about["attempts"] == "3"
    assert "one over none" in letter.about["traceback"]
    assert all(letter.answers_to(word) for word in ("17", "0:17", letter.name))
    assert not letter.answers_to("7")


def test_an_event_is_found_by_its_id() -> None:
    sent = command("a")
    record = Record(sent.topic, 0, 3, 5, sent.key, sent.value, sent.headers)
    letter = read(lying(Parked(record, BadMessage("odd")).letter("registry", ""), 0))
    assert isinstance(letter, Letter)
    assert letter.answers_to("id-a")


def test_a_redriven_record_is_the_original_and_says_which_letter_it_was_and_where_it_lay_first() -> None:
    letter = parked(bare(VALUE, ("x", b"1")), BadMessage("odd"))
    sent = again(letter)
    assert (sent.topic, sent.partition, sent.key, sent.value) == ("predictions.v1", 2, b"m", VALUE)
    assert sent.headers[0] == ("x", b"1")
    assert dict(sent.headers)["redriven_letter"] == b"predictions.v1.monitor.dead:0:17"
    redriven = lying(sent, 5_000, 2_000_000)
    assert (first_position(redriven), first_logged_ms(redriven)) == (PLACE, 1_000_000)


def test_parked_and_redriven_again_it_still_knows_its_first_place() -> None:
    once = lying(again(parked(bare(), BadMessage("odd"))), 5_000, 2_000_000)
    twice = again(parked(once, BadMessage("odd still"), offset=18))
    assert first_position(lying(twice, 9_000)) == PLACE
    assert dict(twice.headers)["redriven_letter"] == b"predictions.v1.monitor.dead:0:18"
    assert [name for name, _ in twice.headers].count("redriven_letter") == 1


def test_a_record_without_id_and_time_keeps_those_that_were_made_up_for_it() -> None:
    """Else a second redriving would be a second event, and each group that had taken it would take it again."""
    before, _ = read_batch([bare()])
    after, _ = read_batch([lying(again(parked(bare(), BadMessage("odd"))), 5_000, 2_000_000)])
    assert before is not None
    assert after is not None
    assert before.event_ids == after.event_ids == [derived_id("predictions.v1/2@41", "bare")]
    assert before.times.tolist() == after.times.tolist()


@pytest.mark.parametrize("odd", [b"", b"-1", b"x"])
def test_a_stranger_who_makes_such_headers_up_gains_nothing(odd: bytes) -> None:
    record = bare(VALUE, ("redriven_letter", b"x"), ("redriven_partition", odd), ("redriven_offset", b"1"))
    assert first_position(record) == PLACE


def test_a_record_that_brought_such_headers_itself_cannot_say_where_it_came_from() -> None:
    lie = (("dead_topic", b"deployments.v1"), ("dead_offset", b"3"), ("dead_group", b"registry"))
    letter = parked(bare(VALUE, *lie), BadMessage("odd"))
    assert letter.original.position == PLACE
    assert again(letter).topic == "predictions.v1"
    assert again(letter).headers[:3] == lie


def test_what_is_no_letter_is_told() -> None:
    for headers in ((), (("dead_topic", b"drift.v1"),), (("redriven_letter", b"x"),)):
        with pytest.raises(BadMessage, match="letter"):
            read(Record("drift.v1.registry.dead", 0, 1, 1, None, b"", headers))
    elsewhere = Parked(bare(), BadMessage("odd")).letter("monitor", "")
    with pytest.raises(BadMessage, match="lies on"):
        read(Record("drift.v1.registry.dead", 0, 1, 1, None, b"", elsewhere.headers))


def test_a_mark_says_which_letter_was_redriven() -> None:
    letter = parked(bare(), BadMessage("odd"))
    found = read(lying(mark(letter, "2026-01-01T00:00:00Z", "ann"), 18))
    assert found == Mark((0, 17), "2026-01-01T00:00:00Z")
    (told,) = marked([letter], {letter.place: found})
    assert told.redriven_at == "2026-01-01T00:00:00Z"
    assert standing(told, {}, again=False) == "redriven"
    assert standing(told, {}, again=True) == "waiting"


def test_what_killed_its_reader_is_a_reference_and_what_had_no_value_stays_without() -> None:
    killer, null = parked(bare(), Killer("died")), parked(bare(None), BadMessage("a tombstone"))
    assert (killer.by_reference, killer.original.value, killer.size_bytes) == (True, None, 0)
    assert (null.by_reference, standing(null, {}, again=True)) == (False, "null")
    with pytest.raises(ValueError, match="holds no value"):
        again(killer)


def test_a_state_that_a_newer_one_replaced_is_not_put_in_front_of_it() -> None:
    sent = encode(first(ModelRetired(model="m", reason="", retired_by="a"), id="1", time=NOON), "registry")
    letter = read(lying(Parked(lying(sent, 4), BadMessage("odd")).letter("monitor", ""), 0))
    assert isinstance(letter, Letter)
    key = ("declarations.v1", 0, sent.key)
    assert standing(letter, {key: lying(sent, 4)}, again=False) == "waiting"
    assert standing(letter, {key: lying(sent, 9)}, again=False) == "superseded"
    # Its own copy, redriven before, is no newer state.
    assert standing(letter, {key: lying(again(letter), 9)}, again=True) == "waiting"
