"""What is loaded as history and what is replayed: everything once, in its hour, nothing from the future."""

from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from flights.features import OF_THE_CALLER, PLANE_FIELDS, WEATHER
from flights.story import HARD_REPLAY_UNTIL, REPLAY_FROM, REPLAY_UNTIL
from flights.stream import Slice, requests
from flights.world import World

pytestmark = pytest.mark.world


@pytest.fixture(scope="module")
def history(world: World) -> Slice:
    return world.history(REPLAY_FROM)


@pytest.fixture(scope="module")
def hours(world: World) -> list[Slice]:
    return list(world.replay(REPLAY_FROM, REPLAY_UNTIL))


def test_history_is_151058_flights_146287_outcomes_11865_weather_rows_and_all_planes(history: Slice) -> None:
    assert history.planes is not None
    counts = [len(table) for table in (history.predictions, history.outcomes, history.weather, history.planes)]
    assert counts == [151_058, 146_287, 11_865, 3_322]


def test_the_replay_is_26309_predictions_25056_outcomes_and_some_2000_weather_rows(hours: list[Slice]) -> None:
    counts = [sum(len(getattr(hour, name)) for hour in hours) for name in ("predictions", "outcomes", "weather")]
    assert counts == [26_309, 25_056, 2_023]


def test_the_hard_replay_is_39788_predictions_and_38066_outcomes(world: World) -> None:
    hours = list(world.replay(REPLAY_FROM, HARD_REPLAY_UNTIL))
    assert sum(len(hour.predictions) for hour in hours) == 39_788
    assert sum(len(hour.outcomes) for hour in hours) == 38_066


@pytest.mark.parametrize("name", ["predictions", "outcomes", "weather"])
def test_every_row_comes_in_its_own_hour_and_in_order(name: str, hours: list[Slice]) -> None:
    for hour in hours:
        times = getattr(hour, name)["time"].to_pylist()
        assert times == sorted(times)
        assert all(hour.start <= time < hour.start + timedelta(hours=1) for time in times)
    assert [hour.start for hour in hours] == [hours[0].start + timedelta(hours=at) for at in range(len(hours))]


def test_every_outcome_follows_its_prediction_and_none_comes_twice(hours: list[Slice]) -> None:
    predictions, outcomes = (
        pa.concat_tables([getattr(hour, name) for hour in hours]) for name in ("predictions", "outcomes")
    )
    asked = dict(zip(predictions["prediction_id"].to_pylist(), predictions["time"].to_pylist(), strict=True))
    came = dict(zip(outcomes["prediction_id"].to_pylist(), outcomes["time"].to_pylist(), strict=True))
    assert len(came) == len(outcomes)
    assert all(asked[prediction] < time for prediction, time in came.items())
    assert len(asked) - len(came) == 1_253  # never labelled


def test_history_and_replay_together_are_the_world_up_to_the_end(
    world: World, history: Slice, hours: list[Slice]
) -> None:
    ids = pc.unique(pa.concat_tables([history.predictions, *(hour.predictions for hour in hours)])["prediction_id"])
    assert len(ids) == 151_058 + 26_309
    until = world.history(REPLAY_UNTIL)
    assert set(ids.to_pylist()) == set(until.predictions["prediction_id"].to_pylist())


def test_the_columns_are_those_of_the_wire(history: Slice) -> None:
    assert history.planes is not None
    assert history.predictions.column_names == [
        *("prediction_id", "time", "entity"),
        *(f"features.{name}" for name in OF_THE_CALLER),
        *("keys.tailnum", "segment.origin"),
    ]
    assert history.outcomes.column_names == ["prediction_id", "time", "value"]
    assert set(history.weather.column_names) == {"entity", "time", *(f"values.{name}" for name in WEATHER)}
    assert history.planes.column_names == ["entity", "time", *(f"values.{name}" for name in PLANE_FIELDS.values())]


def test_a_missing_number_is_null_and_never_nan(history: Slice) -> None:
    for table in (history.predictions, history.weather, history.planes):
        assert table is not None
        for column in table.columns:
            if pa.types.is_floating(column.type):
                assert not pc.any(pc.is_nan(column)).as_py()
    assert history.weather["values.gust"].null_count > 0


def test_requests_are_the_same_predictions_by_name(hours: list[Slice]) -> None:
    hour = next(hour for hour in hours if len(hour.predictions))
    body, row = requests(hour.predictions)[0], hour.predictions.slice(0, 1).to_pylist()[0]
    assert body["prediction_id"] == body["entity"] == row["entity"]
    assert body["time"] == row["time"].isoformat()
    assert body["time"].endswith("+00:00")
    assert list(body["features"]) == list(OF_THE_CALLER)
    assert body["keys"] == {"tailnum": row["keys.tailnum"]}
