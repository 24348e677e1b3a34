from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from driftloop_bus.errors import BadMessage
from driftloop_bus.outgoing import to_records
from driftloop_bus.packing import pack, pack_columns, unpack
from driftloop_contracts import AnyEvent, first
from driftloop_contracts.data_plane import PredictionMade

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)


def predictions(n: int, model: str = "m") -> list[AnyEvent]:
    return [
        first(
            PredictionMade(prediction_id=f"p-{row}", model=model, features={"x": row / 2, "carrier": "AA"}, score=0.5),
            id=f"{model}-{row}",
            time=NOON + timedelta(seconds=row),
        )
        for row in range(n)
    ]


def stream(table: pa.Table, **options: object) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    value: bytes = sink.getvalue().to_pybytes()
    return value


def test_rows_come_back_as_columns() -> None:
    table = unpack(pack(predictions(300)))
    assert table.num_rows == 300
    assert table.column("features.x").to_pylist()[3] == 1.5
    assert table.column("time").to_pylist()[2] == NOON + timedelta(seconds=2)


def test_fifty_events_of_a_key_are_packed_and_fewer_are_not() -> None:
    records = to_records([*predictions(300, "many"), *predictions(3, "few")], "serving")
    assert [record.key for record in records] == [b"few"] * 3 + [b"many"] * 2
    assert (
        to_records(predictions(300), "serving")[0].headers[1] == to_records(predictions(300), "serving")[0].headers[1]
    )


def test_what_does_not_fit_columns_goes_as_json() -> None:
    mixed = first(PredictionMade(prediction_id="odd", model="m", features={"x": "text"}), id="odd", time=NOON)
    assert len(to_records([*predictions(60), mixed], "serving")) == 61


def test_numpy_columns_can_be_packed() -> None:
    value = pack_columns({"prediction_id": ["a", "b"], "features.x": np.array([1.0, 2.0])})
    assert unpack(value).column("features.x").to_pylist() == [1.0, 2.0]


ONE = pa.table({"x": pa.array([1.0] * 5000)})
REFUSED: dict[str, bytes] = {
    "garbage": b"\xff" * 100,
    "nothing": b"",
    "a cut stream": stream(ONE)[:-2000],
    "compression": stream(ONE, compression="zstd"),
    "lz4": stream(ONE, compression="lz4"),
    "a dictionary": stream(pa.table({"x": pa.array(["a", "b"]).dictionary_encode()})),
    "nested": stream(pa.table({"x": pa.array([[1], [2]])})),
    "binary": stream(pa.table({"x": pa.array([b"a"])})),
    "too many rows": stream(pa.table({"x": pa.array([True] * 10_001)})),
    "too many bytes": stream(pa.table({"x": pa.array(["y" * 600_000])})),
    "one name twice": stream(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])),
    "text offsets beyond the text": stream(pa.table({"x": ["hello", "world"]})).replace(
        np.array([0, 5, 10], np.int32).tobytes(), np.array([0, 5, 999_999], np.int32).tobytes()
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_strangers_may_not_pack_is_refused(what: str) -> None:
    with pytest.raises(BadMessage):
        unpack(REFUSED[what])


@pytest.mark.parametrize("seed", range(300))
def test_flipped_bytes_are_refused_or_read_and_never_crash(seed: int) -> None:
    chance = np.random.default_rng(seed)
    value = bytearray(pack(predictions(60)))
    for place in chance.integers(0, len(value), size=4):
        value[place] = chance.integers(256)
    try:
        rows = unpack(bytes(value)).num_rows
    except BadMessage:
        rows = 0
    assert rows <= 10_000
