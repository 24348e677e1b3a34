"""The world cut into what a producer sends: plain columns under the names of the wire."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flights.times import HOUR, Minutes

if TYPE_CHECKING:
    from flights.world import World

Rows = npt.NDArray[np.int64]
TIMESTAMP: Final = pa.timestamp("us", tz="UTC")
MICROSECONDS_A_MINUTE: Final = 60_000_000


@dataclass(frozen=True)
class Slice:
    """What happened in a stretch of time, each table in order of its `time`. A number that is missing is null.

    predictions: prediction_id, time, entity, features.<name> of the caller, keys.tailnum, segment.origin.
    outcomes: prediction_id, time (observed at), value (1: late).
    weather: entity (the airport), time (published at), values.<name>. planes: entity (the tail number), time, values.
    """

    start: datetime
    weather: pa.Table
    predictions: pa.Table
    outcomes: pa.Table
    planes: pa.Table | None = None
    """In history alone: told once."""


def history(world: "World", until: int) -> Slice:
    """See `World.history`."""
    asked = _between(world.asked_at, int(world.asked_at[0]), until)
    known = np.flatnonzero(world.weather.published_at <= until)
    first = min(int(world.asked_at[0]), int(world.weather.published_at[0]))
    return Slice(
        start=_moment(first),
        weather=weather_columns(world, known),
        predictions=prediction_columns(world, asked),
        outcomes=outcome_columns(world, _by_arrival(world, asked)),
        planes=plane_columns(world, first),
    )


def replay(world: "World", since: int, until: int) -> Iterator[Slice]:
    """See `World.replay`."""
    asked = _between(world.asked_at, since, until)
    ended = _by_arrival(world, asked)
    published = np.flatnonzero(world.weather.published_at > since)
    for hour in range(since // HOUR * HOUR, max(until, int(world.outcome_at[ended[-1]]) + 1), HOUR):
        yield Slice(
            start=_moment(hour),
            weather=weather_columns(world, _within(published, world.weather.published_at, hour)),
            predictions=prediction_columns(world, _within(asked, world.asked_at, hour)),
            outcomes=outcome_columns(world, _within(ended, world.outcome_at, hour)),
        )


def prediction_columns(world: "World", rows: Rows) -> pa.Table:
    """These predictions as their caller knows them. The entity is unique, so it is the id too."""
    entity = pa.array(world.entity[rows], pa.string())
    features = {f"features.{name}": _values(column[rows]) for name, column in world.features.items()}
    return pa.table(
        {
            "prediction_id": entity,
            "time": _times(world.asked_at[rows]),
            "entity": entity,
            **features,
            "keys.tailnum": pa.array(world.tailnum[rows], pa.string()),
            "segment.origin": features["features.origin"],
        }
    )


def outcome_columns(world: "World", rows: Rows) -> pa.Table:
    """The outcomes of these predictions."""
    return pa.table(
        {
            "prediction_id": pa.array(world.entity[rows], pa.string()),
            "time": _times(world.outcome_at[rows]),
            "value": world.late[rows].astype(np.int64),
        }
    )


def weather_columns(world: "World", rows: Rows) -> pa.Table:
    """These observations of the view `weather`."""
    weather = world.weather
    return pa.table(
        {
            "entity": pa.array(weather.origin[rows], pa.string()),
            "time": _times(weather.published_at[rows]),
            **{f"values.{name}": _values(column[rows]) for name, column in weather.values.items()},
        }
    )


def plane_columns(world: "World", at: int) -> pa.Table:
    """All observations of the view `plane`, told at that minute."""
    planes = world.planes
    return pa.table(
        {
            "entity": pa.array(planes.tailnum, pa.string()),
            "time": _times(np.full(len(planes.tailnum), at)),
            **{f"values.{name}": _values(column) for name, column in planes.values.items()},
        }
    )


def requests(predictions: pa.Table) -> list[dict[str, Any]]:
    """The same predictions as the bodies of requests: features and keys by name, a missing one as None."""
    features = [name for name in predictions.column_names if name.startswith("features.")]
    keys = [name for name in predictions.column_names if name.startswith("keys.")]
    return [
        {
            "prediction_id": row["prediction_id"],
            "entity": row["entity"],
            "time": row["time"].isoformat(),
            "features": {name.removeprefix("features."): row[name] for name in features},
            "keys": {name.removeprefix("keys."): row[name] for name in keys},
        }
        for row in predictions.to_pylist()
    ]


def _between(times: Minutes, since: int, until: int) -> Rows:
    """Row numbers of sorted times in [since, until)."""
    first, last = np.searchsorted(times, [since, until])
    return np.arange(first, last)


def _within(rows: Rows, times: Minutes, hour: int) -> Rows:
    """Those of the rows, which are in order of their times, that fall into this hour."""
    first, last = np.searchsorted(times[rows], [hour, hour + HOUR])
    return rows[first:last]


def _by_arrival(world: "World", asked: Rows) -> Rows:
    labelled = asked[world.labelled[asked]]
    return labelled[np.argsort(world.outcome_at[labelled], kind="stable")]


def _values(column: npt.NDArray[Any]) -> pa.Array:
    return pa.array(column, from_pandas=True)


def _times(minutes: Minutes) -> pa.Array:
    return pa.array(minutes * MICROSECONDS_A_MINUTE, pa.int64()).cast(TIMESTAMP)


def _moment(minutes: int) -> datetime:
    return datetime.fromtimestamp(minutes * 60, UTC)
