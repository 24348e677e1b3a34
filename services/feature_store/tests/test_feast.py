"""Feast's protocol over real HTTP: what its stock server was recorded to answer, and where ours answers better."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from services.feature_store.tests.test_process import World
from services.feature_store.tests.world import view_declared

from driftloop_bus.codec import decode
from driftloop_contracts.topics import FEATURES, OBSERVATIONS
from driftloop_kit.testing import ServiceProcess

pytestmark = pytest.mark.stack
RECORDED = [
    json.loads(line) for line in (Path(__file__).parent / "recordings" / "feast.jsonl").read_text().splitlines()
]
FEATURES_OF_DRIVERS = {"conv_rate": "number", "acc_rate": "number", "avg_daily_trips": "number"}
# Where stock's answer is a fault: our status, and what our answer holds.
DIFFERENT: dict[int, tuple[int, str]] = {
    1: (404, "FeatureServiceNotFoundException"),  # services of features are not declared here
    3: (422, "Feature nope not found in projection driver_hourly_stats"),
    5: (422, "Missing join key values for keys: ['driver_id']"),
    9: (200, "0.8999999761581421"),  # stock lets the late row overwrite the newer one
    13: (422, "bogus is not a supported push format"),
    16: (200, "NULL_VALUE"),  # stock says PRESENT of a null
    20: (422, "df has no column event_timestamp, conv_rate, acc_rate, avg_daily_trips"),
    22: (422, "No features specified for retrieval"),
    23: (422, "FeatureNameCollisionError"),
    24: (200, "feature_view_metadata"),
    25: (422, "one length"),
    26: (422, "one length"),
}


class Door:
    """Asks, as a plain HTTP client does."""

    def __init__(self, world: World) -> None:
        self.world, self.view = world, world.view

    async def post(self, path: str, body: Any) -> httpx.Response:
        content = body if isinstance(body, str) else json.dumps(body)
        return await self.world.client.post(path, content=content, headers={"content-type": "application/json"})

    async def declare(self, name: str, **more: Any) -> None:
        """The view is declared, and known to the door."""
        declared = view_declared(name, entity="driver_id", features=FEATURES_OF_DRIVERS, **more)
        await self.world.say("registry", declared)
        asked = {"features": [f"{name}:conv_rate"], "entities": {"driver_id": [0]}}
        async with asyncio.timeout(30):
            while (await self.post("/get-online-features", asked)).status_code == 404:  # noqa: ASYNC110  # it reads a topic
                await asyncio.sleep(0.1)

    async def write(self, *rows: dict[str, Any], status: int = 200) -> Any:
        """`/write-to-online-store` of these rows; what is missing in one is plausible."""
        plain = {
            "driver_id": 1,
            "conv_rate": 0.5,
            "acc_rate": 0.5,
            "avg_daily_trips": 7,
            "event_timestamp": "2026-11-24T05:00:00",
        }
        full = [plain | row for row in rows]
        df = {name: [row[name] for row in full] for name in full[0]}
        answer = await self.post("/write-to-online-store", {"feature_view_name": self.view, "df": df})
        assert answer.status_code == status, answer.text
        return answer.json()

    async def read(self, *drivers: Any, feature: str = "conv_rate") -> list[tuple[Any, str, str]]:
        """Value, status and time of each driver."""
        asked = {"features": [f"{self.view}:{feature}"], "entities": {"driver_id": list(drivers)}}
        column = (await self.post("/get-online-features", asked)).json()["results"][1]
        return list(zip(column["values"], column["statuses"], column["event_timestamps"], strict=True))


@pytest.fixture
async def door(feature_store: ServiceProcess) -> AsyncIterator[Door]:
    made = Door(World(feature_store))
    await made.declare(made.view, push_source=f"{made.view}_push")
    yield made
    await made.world.close()


async def test_recorded_requests_get_the_recorded_answers_or_better_ones(door: Door) -> None:
    await door.declare("driver_hourly_stats")
    await door.declare("driver_hourly_stats_fresh", push_source="driver_stats_push_source")
    seen = {"conv_rate": 0.6673805713653564, "acc_rate": 0.9274387359619141, "avg_daily_trips": 7}
    door.view = "driver_hourly_stats"
    await door.write({"driver_id": 1001, **seen})
    for number, recorded in enumerate(RECORDED):
        if recorded["m"] == "GET":
            answer = await door.world.client.get(recorded["p"])
        else:
            answer = await door.post(recorded["p"], recorded["rq"])
        assert as_recorded(number, recorded, answer) == [], f"{number}: {recorded}"


def as_recorded(number: int, recorded: dict[str, Any], answer: httpx.Response) -> list[Any]:
    """What differs from what it should be."""
    if number in DIFFERENT:
        status, words = DIFFERENT[number]
        return [] if answer.status_code == status and words in answer.text else [answer.status_code, answer.text]
    if answer.status_code != recorded["st"]:
        return [answer.status_code, answer.text]
    expected = recorded.get("rs")
    if isinstance(expected, dict) and "detail" in expected:
        expected = {"detail": [{key: one[key] for key in ("type", "loc", "msg")} for one in expected["detail"]]}
    given = whole_seconds(answer.json()) if answer.content else None
    if isinstance(expected, str) and expected.startswith("{"):
        expected, given = json.loads(expected), json.loads(str(given))
    return [] if given == expected else [given, expected]


def whole_seconds(answer: Any) -> Any:
    """Ours carry fractions, stock's do not."""
    if isinstance(answer, dict) and "results" in answer:
        for column in answer["results"]:
            column["event_timestamps"] = [f"{time[:19]}Z" for time in column["event_timestamps"]]
    return answer


async def test_a_late_row_never_overwrites_a_newer_one_whatever_the_order(door: Door) -> None:
    late, newer = ({"conv_rate": 0.1, "event_timestamp": "2026-11-24T03:00:00"}, {"conv_rate": 0.9})
    await door.write(newer)
    await door.write(late)
    await door.write(
        {"driver_id": 2, **late}, {"driver_id": 2, **newer}, {"driver_id": 3, **newer}, {"driver_id": 3, **late}
    )
    assert await door.read(1, 2, 3) == [(0.9, "PRESENT", "2026-11-24T05:00:00Z")] * 3


async def test_of_one_time_the_greater_created_wins(door: Door) -> None:
    for created, rate in (
        ("2026-11-24T05:00:02", 0.2),
        ("2026-11-24T05:00:03", 0.3),
        (None, 0.1),
        ("2026-11-24T05:00:01", 0.9),
    ):
        await door.write({"conv_rate": rate, "created": created})
    assert (await door.read(1))[0][0] == 0.3


async def test_a_null_an_old_row_and_nobody_have_statuses_of_their_own(door: Door) -> None:
    door.view = f"{door.view}-brief"
    await door.declare(door.view, ttl="1h")
    now = datetime.now(UTC)
    old, young = (now - timedelta(hours=2)).isoformat(), (now - timedelta(minutes=5)).isoformat()
    await door.write(
        {"driver_id": 1, "event_timestamp": young, "conv_rate": 0.5}, {"driver_id": 2, "event_timestamp": young, "conv_rate": None},
        {"driver_id": 3, "event_timestamp": old, "conv_rate": 0.7},
    )  # fmt: skip
    found = [(value, status) for value, status, _ in await door.read(1, 2, 3, 4)]
    assert found == [(0.5, "PRESENT"), (None, "NULL_VALUE"), (0.7, "OUTSIDE_MAX_AGE"), (None, "NOT_FOUND")]


async def test_a_time_with_an_offset_is_honoured_and_a_naive_one_is_utc(door: Door) -> None:
    await door.write(
        {"event_timestamp": "2026-11-24T06:00:00+02:00"}, {"driver_id": 2, "event_timestamp": "2026-11-24T04:00:00"}
    )
    assert [time for _, _, time in await door.read(1, 2)] == ["2026-11-24T04:00:00Z"] * 2


async def test_a_driver_is_the_same_as_a_number_and_as_text(door: Door) -> None:
    await door.write({"driver_id": 1001}, {"driver_id": 1002.0}, {"driver_id": "a b/c"})
    assert [status for _, status, _ in await door.read("1001", 1001.0, 1002, "a b/c")] == ["PRESENT"] * 4


async def test_nan_is_null(door: Door) -> None:
    await door.write({"conv_rate": float("nan")})
    assert (await door.read(1))[0][:2] == (None, "NULL_VALUE")


ODD: dict[str, tuple[dict[str, Any], str]] = {
    "text for a number": ({"conv_rate": "fast"}, "feature conv_rate is declared a number, got 'fast'"),
    "a list": ({"conv_rate": [1.0]}, "feature conv_rate is declared a number"),
    "infinity": ({"conv_rate": float("inf")}, "values.conv_rate"),
    "no time": ({"event_timestamp": None}, "event_timestamp must be ISO 8601 text, got None"),
    "no such time": ({"event_timestamp": "2026-13-01"}, "event_timestamp must be ISO 8601 text, got '2026-13-01'"),
    "nobody": ({"driver_id": None}, "the join key driver_id is missing in a row"),
    "a name with a NUL": ({"driver_id": "a\x00b"}, "or holds a NUL"),
    "an endless name": ({"driver_id": "x" * 300}, "entity: String should have at most 250 characters"),
}


@pytest.mark.parametrize("odd", ODD)
async def test_a_row_that_does_not_fit_is_refused_in_plain_words_and_nothing_of_its_request_is_stored(
    door: Door, odd: str
) -> None:
    row, words = ODD[odd]
    assert words in await door.write({"driver_id": 7}, row, status=422)
    assert (await door.read(7))[0][1] == "NOT_FOUND"


async def test_what_is_pushed_becomes_observations_once_and_one_update(door: Door) -> None:
    df = {
        "driver_id": [1], "conv_rate": [0.5], "acc_rate": [None], "avg_daily_trips": [7],
        "event_timestamp": ["2026-11-24T05:00:00"], "created": ["2026-11-24T05:00:01"],
    }  # fmt: skip
    for _ in range(2):
        answer = await door.post(
            "/push", {"push_source_name": f"{door.view}_push", "df": df, "to": "online_and_offline"}
        )
        assert (answer.status_code, answer.content) == (200, b"")
    key = f"{door.view}/1"
    [observed] = {decode(record).id for record in await door.world.heard(OBSERVATIONS.name, bool, key)}
    # A later row follows; were a second update of the first on its way, it would come before.
    await door.write({"conv_rate": 0.9, "event_timestamp": "2026-11-24T06:00:00"})
    updates = [decode(one) for one in await door.world.heard(FEATURES.name, lambda found: len(found) >= 2, key)]
    assert [update.data.values["conv_rate"] for update in updates] == [0.5, 0.9]
    assert updates[0].causation == observed
    ready = await door.world.ready()
    assert ready["ready"]


async def test_incremental_materialization_is_accepted_for_views_that_are_there(door: Door) -> None:
    body = {"end_ts": "2026-11-24T06:36:20", "feature_views": [door.view]}
    answer = await door.post("/materialize-incremental?async=true", body)
    assert (answer.status_code, answer.json()) == (202, {"status": "accepted", "feature_views": [door.view]})


async def test_a_caller_that_names_no_view_is_told_that_there_is_none(door: Door) -> None:
    asked = {"features": [f"v-{uuid.uuid4().hex}:x"], "entities": {"driver_id": [1]}}
    answer = await door.post("/get-online-features", asked)
    assert answer.status_code == 404
    # The client parses it twice.
    told = json.loads(answer.json())
    assert (told["module"], told["class"]) == ("feast.errors", "FeatureViewNotFoundException")
    assert told["message"].endswith("does not exist in project demo")
