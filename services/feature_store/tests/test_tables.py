"""The history's tables: rows and positions together, or neither; and one writer a partition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from services.feature_store.tests.world import alone, came_true, packed, predicted

from driftloop_bus.errors import Fenced, TryAgain
from driftloop_bus.ports import Outgoing, Record
from driftloop_bus.reading import read_batch
from driftloop_contracts.topics import OUTCOMES, PREDICTIONS
from feature_store.rows import BUCKETS, SCHEMAS, table_of
from feature_store.tables import CHECKPOINT_EACH, LOOKS_OPEN, Tables


def rows(*outgoing: Outgoing, start: int = 0) -> Any:
    """The records from this offset of partition 0 on as rows of their topic's table."""
    records = [
        Record(one.topic, 0, start + place, 0, one.key, one.value, one.headers) for place, one in enumerate(outgoing)
    ]
    batch, bad = read_batch(records)
    assert not bad
    assert batch is not None
    return table_of(batch)


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables((tmp_path / "with a space").as_uri())


def test_a_partition_stands_at_zero_until_something_is_stored(tables: Tables) -> None:
    assert tables.position(PREDICTIONS.name, 0) == 0
    assert tables.versions() == {"predictions": 0, "outcomes": 0, "observations": 0}


def test_rows_and_their_position_are_stored_together(tables: Tables, tmp_path: Path) -> None:
    tables.append(PREDICTIONS.name, rows(alone(predicted(1, 1)), alone(predicted(2, 2))), {0: (0, 2)})
    again = Tables((tmp_path / "with a space").as_uri())
    assert again.position(PREDICTIONS.name, 0) == 2
    assert [row["prediction_id"] for row in again.rows(PREDICTIONS.name, 1).to_pylist()] == ["lateness/1", "lateness/2"]


def test_a_position_moves_without_rows_too(tables: Tables) -> None:
    tables.append(OUTCOMES.name, rows(alone(came_true(1, 1))).slice(1), {3: (0, 9)})
    assert tables.position(OUTCOMES.name, 3) == 9


def test_a_writer_that_lost_its_partition_is_refused(tables: Tables, tmp_path: Path) -> None:
    """Both stood at 0; the other has appended since."""
    other = Tables((tmp_path / "with a space").as_uri())
    assert tables.position(PREDICTIONS.name, 0) == other.position(PREDICTIONS.name, 0) == 0
    other.append(PREDICTIONS.name, rows(alone(predicted(1, 1))), {0: (0, 1)})
    with pytest.raises(Fenced, match="stands at 1, the rows start at 0"):
        tables.append(PREDICTIONS.name, rows(alone(predicted(1, 1))), {0: (0, 1)})
    other.append(PREDICTIONS.name, rows(alone(predicted(2, 1)), start=1), {1: (0, 1)})
    assert len(tables.rows(PREDICTIONS.name, 2)) == 2


def test_two_writers_of_one_table_go_on_however_often_each_opens_it_anew(tables: Tables, tmp_path: Path) -> None:
    other = Tables((tmp_path / "with a space").as_uri())
    for number in range(LOOKS_OPEN + 5):
        for partition, writer in enumerate((tables, other)):
            one = rows(alone(predicted(number, 1)), start=number)
            writer.append(PREDICTIONS.name, one, {partition: (number, number + 1)})
    assert [other.position(PREDICTIONS.name, partition) for partition in (0, 1)] == [LOOKS_OPEN + 5] * 2
    assert len(tables.rows(PREDICTIONS.name, tables.versions()["predictions"])) == 2 * (LOOKS_OPEN + 5)


def test_a_reader_begins_at_a_checkpoint_that_is_not_long_ago(tables: Tables, tmp_path: Path) -> None:
    for number in range(CHECKPOINT_EACH + 1):
        tables.append(PREDICTIONS.name, rows(alone(predicted(number, 1)), start=number), {0: (number, number + 1)})
    assert (tmp_path / "with a space" / "predictions" / "_delta_log" / "_last_checkpoint").exists()


def test_an_old_version_shows_what_was_there_then(tables: Tables) -> None:
    for number in range(3):
        tables.append(PREDICTIONS.name, rows(alone(predicted(number, 1)), start=number), {0: (number, number + 1)})
    assert [len(tables.rows(PREDICTIONS.name, version)) for version in range(4)] == [0, 1, 2, 3]


def test_a_row_is_found_by_an_id_with_slashes(tables: Tables) -> None:
    tables.append(OUTCOMES.name, rows(alone(came_true(1, 1)), alone(came_true(2, 2))), {0: (0, 2)})
    [found] = tables.find(OUTCOMES.name, "prediction_id", "lateness/2")
    assert (found["event_id"], found["partition"], found["offset"]) == (came_true(2, 2).id, 0, 1)
    assert tables.find(OUTCOMES.name, "prediction_id", "nobody's") == []


def test_a_packed_record_and_single_ones_are_the_same_rows(tables: Tables) -> None:
    events = [predicted(number, number, entity=f"flight {number}", keys={"tail": "N1"}) for number in range(3)]
    one, each = rows(packed(events)), rows(*(alone(event) for event in events))
    same = [name for name in one.column_names if name not in ("event_id", "offset", "row")]
    assert one.select(same).to_pylist() == each.select(same).to_pylist()
    assert (one["offset"].to_pylist(), one["row"].to_pylist()) == ([0, 0, 0], [0, 1, 2])
    assert len(set(one["event_id"].to_pylist())) == 3


def test_while_the_store_is_away_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TryAgain, match="the history in"):
        Tables((tmp_path / "file").as_uri()).position(PREDICTIONS.name, 0)


def test_however_many_models_strangers_name_an_append_writes_few_files(tables: Tables, tmp_path: Path) -> None:
    many = rows(*(alone(predicted(number, 1, model=f"model-{number}")) for number in range(500)))
    tables.append(PREDICTIONS.name, many, {0: (0, 500)})
    assert len(list(tmp_path.rglob("*/predictions/bucket=*/*.parquet"))) <= BUCKETS
    found = tables.rows(PREDICTIONS.name, 1, of="model-77")
    assert found.column_names == SCHEMAS[PREDICTIONS.name].names
    assert found["model"].to_pylist() == ["model-77"]
    assert len(tables.rows(PREDICTIONS.name, 1)) == 500
    assert tables.rows(PREDICTIONS.name, 1, of="model-500").num_rows == 0


def test_a_table_from_before_there_were_buckets_goes_on_as_it_is(tables: Tables, tmp_path: Path) -> None:
    place, one = tmp_path / "with a space" / "predictions", rows(alone(predicted(1, 1)))
    DeltaTable.create(str(place), SCHEMAS[PREDICTIONS.name], partition_by=["model"])
    tables.append(PREDICTIONS.name, one, {0: (0, 1)})
    tables.append(PREDICTIONS.name, rows(alone(predicted(2, 1)), start=1), {0: (1, 2)})
    assert sorted(tables.rows(PREDICTIONS.name, 2, of=one["model"][0].as_py())["offset"].to_pylist()) == [0, 1]
    assert not list(place.glob("bucket=*"))
