"""What is spooled goes out once Kafka is there, and survives whatever ends the process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftloop_bus.batches import PredictionBatch
from driftloop_bus.codec import encode
from driftloop_bus.errors import DriftloopError
from driftloop_bus.outgoing import repacked
from driftloop_bus.ports import Outgoing, Record
from driftloop_bus.reading import read_batch
from driftloop_bus.spool import Spool
from driftloop_bus.testing import MemoryLog, eventually
from driftloop_contracts import first
from driftloop_contracts.data_plane import PredictionMade

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)


def record(name: str) -> Outgoing:
    return Outgoing("drift.v1", b"m", name.encode(), (("ce_id", name.encode()),))


def prediction(number: int, model: str = "m", value: object = 1.5) -> Outgoing:
    data = PredictionMade(prediction_id=f"p{number}", model=model, features={"x": value}, score=0.5)  # type: ignore[dict-item]  # any value
    return encode(first(data, id=f"e{number}", time=NOON), "serving")


@asynccontextmanager
async def sending(spool: Spool, log: MemoryLog) -> AsyncIterator[None]:
    task = asyncio.create_task(spool.run(log))
    try:
        yield
    finally:
        spool.stop()
        await asyncio.wait_for(task, 10)


def sent(log: MemoryLog, topic: str = "drift.v1") -> list[str]:
    return [one.value.decode() for one in log.records(topic) if one.value is not None]


async def test_what_is_appended_goes_out_in_order(tmp_path: Path) -> None:
    spool, log = Spool(tmp_path), MemoryLog()
    async with sending(spool, log):
        for number in range(100):
            spool.append([record(f"{number} a"), record(f"{number} b")])
            await asyncio.sleep(0)
        await eventually(lambda: spool.pending() == 0)
    assert sent(log) == [f"{number} {half}" for number in range(100) for half in "ab"]
    assert log.records("drift.v1")[0].headers == record("0 a").headers
    spool.close()


async def test_a_broker_that_is_away_changes_nothing_for_who_appends(tmp_path: Path) -> None:
    spool, log = Spool(tmp_path), MemoryLog()
    log.away = True
    async with sending(spool, log):
        spool.append([record("a")])
        await eventually(lambda: spool.waiting_for is not None)
        spool.append([record("b")])
        assert spool.pending() == 2
        log.away = False
        await eventually(lambda: spool.pending() == 0)
    assert sent(log) == ["a", "b"]
    assert spool.waiting_for is None
    spool.close()


async def test_what_was_not_sent_goes_out_in_the_next_life_and_the_rest_does_not(tmp_path: Path) -> None:
    spool, log = Spool(tmp_path), MemoryLog()
    async with sending(spool, log):
        spool.append([record("a")])
        await eventually(lambda: spool.pending() == 0)
    spool.append([record("b"), record("c")])
    spool.close()
    later = Spool(tmp_path)
    assert later.pending() == 2
    async with sending(later, log):
        await eventually(lambda: later.pending() == 0)
    later.close()
    assert sent(log) == ["a", "b", "c"]
    assert Spool(tmp_path).pending() == 0


def test_what_was_appended_survives_sigkill(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from driftloop_bus.ports import Outgoing; from driftloop_bus.spool import Spool\n"
        "spool = Spool(Path(sys.argv[1]))\n"
        "for n in range(500): spool.append([Outgoing('drift.v1', b'm', b'%d' % n)])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    spool = Spool(tmp_path)
    assert spool.pending() == 500
    spool.close()


def test_a_torn_tail_is_cut_off_and_what_stands_before_it_is_kept(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append([record("a"), record("b")])
    spool.close()
    (file,) = [path for path in tmp_path.glob("*.spool") if path.stat().st_size]
    os.truncate(file, file.stat().st_size - 3)
    notes: list[str] = []
    later = Spool(tmp_path, observe=lambda note: notes.append(note.kind))
    assert later.pending() == 1
    assert notes == ["spool_torn"]
    later.append([record("c")])
    assert later.pending() == 2
    later.close()


async def test_a_full_spool_drops_its_oldest_and_counts_them(tmp_path: Path) -> None:
    spool, log = Spool(tmp_path, max_bytes=20_000), MemoryLog()
    for number in range(1000):
        spool.append([record(f"{number:04d}")])
    assert spool.size_bytes <= 20_000
    assert spool.dropped > 0
    assert spool.dropped + spool.pending() == 1000
    async with sending(spool, log):
        await eventually(lambda: spool.pending() == 0)
    assert sent(log) == [f"{number:04d}" for number in range(spool.dropped, 1000)]
    spool.close()


async def test_acked_events_free_their_room(tmp_path: Path) -> None:
    spool, log = Spool(tmp_path, max_bytes=20_000), MemoryLog()
    async with sending(spool, log):
        for number in range(1000):
            spool.append([record(str(number))])
            if number % 50 == 49:
                await eventually(lambda: spool.pending() == 0)
    assert spool.dropped == 0
    assert len(sent(log)) == 1000
    spool.close()


async def test_where_the_mark_finds_no_room_everything_goes_out_and_may_go_out_again(tmp_path: Path) -> None:
    (tmp_path / "acked").symlink_to("/dev/full")
    spool, log = Spool(tmp_path), MemoryLog()
    async with sending(spool, log):
        spool.append([record("a"), record("b")])
        await eventually(lambda: spool.pending() == 0)
        spool.append([record("c")])
        await eventually(lambda: spool.pending() == 0)
    spool.close()
    assert sent(log) == ["a", "b", "c"]
    async with sending(again := Spool(tmp_path), log):
        await eventually(lambda: again.pending() == 0)
    again.close()
    assert sent(log) == ["a", "b", "c"] * 2


def test_a_folder_belongs_to_one_process(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with pytest.raises(DriftloopError, match="in use"):
        Spool(tmp_path)
    spool.close()


def test_what_can_not_be_kept_is_said_and_not_half_there(tmp_path: Path) -> None:
    program = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from driftloop_bus.ports import Outgoing; from driftloop_bus.spool import Spool\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "spool = Spool(Path(sys.argv[1]))\n"
        "spool.append([Outgoing('drift.v1', b'm', b'kept')])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "try: spool.append([Outgoing('drift.v1', b'm', b'x' * 20000)])\n"
        "except OSError: print('refused', spool.pending())\n"
        "spool.append([Outgoing('drift.v1', b'm', b'small')])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], check=True, timeout=60, capture_output=True, text=True
    )
    assert ended.stdout == "refused 1\n"
    spool = Spool(tmp_path)
    assert spool.pending() == 2
    spool.close()


async def test_many_predictions_of_a_model_go_out_packed(tmp_path: Path) -> None:
    spool, log = Spool(tmp_path), MemoryLog()
    spool.append([prediction(number) for number in range(300)])
    async with sending(spool, log):
        await eventually(lambda: spool.pending() == 0)
    records = log.records("predictions.v1")
    assert len(records) == 2
    batch, bad = read_batch(records)
    assert isinstance(batch, PredictionBatch)
    assert bad == []
    assert batch.prediction_ids == [f"p{number}" for number in range(300)]
    assert batch.cause(7).correlation == batch.event_ids[7]
    spool.close()


async def test_what_may_have_been_sent_is_sent_again_as_it_was_though_more_has_come(tmp_path: Path) -> None:
    spool, log = Spool(tmp_path), MemoryLog()
    log.away = True
    spool.append([prediction(0)])
    async with sending(spool, log):
        await eventually(lambda: spool.waiting_for is not None)
        spool.append([prediction(number) for number in range(1, 61)])
        log.away = False
        await eventually(lambda: spool.pending() == 0)
    spool.close()
    assert rows_of(log) == [["p0"], [f"p{number}" for number in range(1, 61)]]


async def test_the_next_life_sends_again_what_the_last_may_have_sent_as_it_was(tmp_path: Path) -> None:
    spool, log = Spool(tmp_path), MemoryLog()
    log.away = True
    spool.append([prediction(number) for number in range(55)])
    async with sending(spool, log):
        await eventually(lambda: spool.waiting_for is not None)
    spool.append([prediction(number) for number in range(55, 60)])
    spool.close()
    log.away, later = False, Spool(tmp_path)
    later.append([prediction(60)])
    async with sending(later, log):
        await eventually(lambda: later.pending() == 0)
    later.close()
    rows = rows_of(log)
    assert rows[0] == [f"p{number}" for number in range(55)]
    assert [name for row in rows for name in row] == [f"p{number}" for number in range(61)]


def rows_of(log: MemoryLog) -> list[list[str]]:
    """The predictions of each record."""
    return [read_batch([one])[0].prediction_ids for one in log.records("predictions.v1")]  # type: ignore[union-attr]  # predictions


def as_read(records: list[Outgoing]) -> list[tuple[str, object, int]]:
    log = [Record(one.topic, 0, place, 0, one.key, one.value, one.headers) for place, one in enumerate(records)]
    batch, bad = read_batch(log)
    assert isinstance(batch, PredictionBatch)
    assert bad == []
    rows = zip(batch.prediction_ids, batch.features["x"].tolist(), batch.times.tolist(), strict=True)
    return sorted((name, value, time) for name, value, time in rows)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.one_of(st.floats(-1, 1), st.text(max_size=3))), min_size=1, max_size=150
    )
)
def test_packing_changes_no_row(rows: list[tuple[str, object]]) -> None:
    records = [prediction(number, model, value) for number, (model, value) in enumerate(rows)]
    assert as_read(repacked(records)) == as_read(records)
