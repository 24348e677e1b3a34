"""Faults that the loss does not find in weeks, found by the features alone; and no alarm where nothing is wrong."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftloop_detect.errors import NotReady, SnapshotRejected
from driftloop_detect.structural import Finding, Reference, StructuralState, StructuralWatch
from driftloop_detect.testing import HOUR_US, Rows, world

MAX_AGE = {"weather": 4 * HOUR_US}
TRAINING = world(seed=0, days=60)
WATCH = StructuralWatch(Reference.of(TRAINING.columns, TRAINING.origin), MAX_AGE)


def step(state: StructuralState, rows: Rows, watch: StructuralWatch = WATCH) -> tuple[StructuralState, list[Finding]]:
    return watch.step(state, rows.columns, rows.times_us, rows.origin, {"weather": rows.weather_us})


def findings(rows: Rows, watch: StructuralWatch = WATCH) -> list[Finding]:
    return step(watch.start(), rows, watch)[1]


def opened(rows: Rows) -> dict[tuple[str, str, str | None], int]:
    """What was found, and after how many rows."""
    first: dict[tuple[str, str, str | None], int] = {}
    for finding in findings(rows):
        if finding.state == "opened":
            first.setdefault((finding.check.kind, finding.check.name, finding.check.segment), finding.row + 1)
    return first


def live(seed: int = 77, days: int = 6) -> Rows:
    return world(seed, days, first_day=60)


def where(rows: Rows, station: str, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Rows:
    column = rows.columns[name]
    return rows.with_columns(**{name: np.where(rows.origin == station, change(column), column)})


def test_a_healthy_world_raises_almost_nothing() -> None:
    counts = {}
    for seed in range(10):
        training = world(seed, days=60)
        watch = StructuralWatch(Reference.of(training.columns, training.origin), MAX_AGE)
        found = findings(world(seed + 1000, days=30, first_day=60), watch)
        counts[seed] = [(f.check.kind, f.check.name) for f in found if f.state == "opened"]
    alarms = sum(map(len, counts.values()))
    print(f"false alarms in 10 months of healthy rows (270,000): {alarms}: {[c for c in counts.values() if c]}")
    assert alarms <= 2, counts


def test_a_null_rate_that_steps_from_nothing_to_a_third_is_seen_within_a_thousand_rows() -> None:
    for start in (0, 1, 650, 999):
        rows = live()
        broken = np.where((rows.origin == "LGA") & (np.arange(len(rows)) >= start), np.nan, rows.columns["minute"])
        seen = opened(rows.with_columns(minute=broken))[("missing", "minute", None)]
        assert start < seen <= start + 1000


def test_a_feature_that_had_outages_in_training_gets_room_for_them_and_no_more() -> None:
    worst = WATCH.reference.numbers["temp"].max_null_rate
    rows = live()
    broken = np.where(rows.origin == "LGA", np.nan, rows.columns["temp"])
    assert worst > 0
    assert opened(rows.with_columns(temp=broken))[("missing", "temp", None)] <= 1000


def test_a_column_that_is_gone_is_all_null() -> None:
    rows = live()
    without = replace(rows, columns={name: column for name, column in rows.columns.items() if name != "minute"})
    assert opened(without)[("missing", "minute", None)] <= 200


def test_a_feature_that_was_often_null_is_missing_when_it_is_always() -> None:
    rows = live()
    assert opened(rows.with_columns(delay_3h=np.full(len(rows), np.nan)))[("missing", "delay_3h", None)] <= 1000


def test_a_renamed_category_is_unseen() -> None:
    carrier = live().columns["carrier"]
    renamed = live().with_columns(carrier=np.where(carrier == "EV", "XE", carrier))
    assert opened(renamed)[("unseen", "carrier", None)] <= 500


def test_a_merged_category_is_a_moved_mix() -> None:
    carrier = live().columns["carrier"]
    merged = live().with_columns(carrier=np.where(carrier == "EV", "DL", carrier))
    assert opened(merged) == {("feature", "carrier", None): 1000}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("delay_3h", lambda minutes: minutes * 60),
        ("late_share", lambda share: share * 100),
        ("minute", lambda minute: (minute + 300) % 1440),
        ("temp", lambda temp: np.full_like(temp, np.inf)),
        ("temp", lambda temp: temp.astype(object).astype(str).astype(object)),
    ],
    ids=["delay in seconds", "share in percent", "clock in UTC", "infinite", "numbers as text"],
)
def test_another_unit_is_out_of_range(name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    rows = live()
    assert opened(rows.with_columns(**{name: change(rows.columns[name])}))[("range", name, None)] <= 1000


def test_one_absurd_reading_is_not_a_broken_pipeline() -> None:
    rows = live()
    temp = rows.columns["temp"].copy()
    temp[500:530] = 1048.0
    assert opened(rows.with_columns(temp=temp)) == {}


def test_celsius_at_one_station_is_seen_against_its_siblings_and_only_it_is_named() -> None:
    celsius = where(live(), "EWR", "temp", lambda temp: (temp - 32) / 1.8)
    found = opened(celsius)
    assert set(found) == {("contrast", "temp", "EWR")}
    assert found[("contrast", "temp", "EWR")] <= 300


def test_a_range_check_does_not_see_celsius() -> None:
    celsius = where(live(), "EWR", "temp", lambda temp: (temp - 32) / 1.8)
    assert ("range", "temp", None) not in opened(celsius)


def test_a_stuck_sensor_is_seen_although_its_times_are_fresh() -> None:
    stuck = where(live(), "LGA", "temp", lambda temp: np.full_like(temp, temp[0]))
    assert opened(stuck)[("stale", "temp", "LGA")] <= 1000


def test_a_value_that_rests_for_days_in_health_may_rest() -> None:
    dry = live().with_columns(precip=np.zeros(len(live())))
    assert opened(dry) == {}


def test_a_view_that_is_no_longer_written_is_stale_by_its_age() -> None:
    rows = live()
    stopped = replace(rows, weather_us=np.minimum(rows.weather_us, rows.times_us[1000]))
    assert 1000 < opened(stopped)[("stale", "weather", None)] <= 2000
    never = replace(rows, weather_us=np.zeros(len(rows), np.int64))
    assert opened(never)[("stale", "weather", None)] == 100


def test_the_advice_is_to_fix_the_pipeline_and_the_reason_has_the_figures() -> None:
    rows = live()
    finding = findings(rows.with_columns(minute=np.full(len(rows), np.nan)))[0]
    assert finding.advice == "fix_pipeline"
    assert finding.reason == "minute: share of nulls in a block 0.1; allowed 0.05, in training 0"


def test_a_fault_is_said_once_and_cleared_after_a_whole_healthy_block() -> None:
    rows = live(days=12)
    broken = (np.arange(len(rows)) >= 1500) & (np.arange(len(rows)) < 5200)
    minute = np.where(broken, np.nan, rows.columns["minute"])
    said = [(f.state, f.row + 1) for f in findings(rows.with_columns(minute=minute)) if f.check.kind == "missing"]
    assert said == [("opened", 1600), ("cleared", 7000)]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 900), max_size=12))
def test_however_the_stream_is_cut_the_same_findings_follow(sizes: list[int]) -> None:
    rows = where(live(days=5), "EWR", "temp", lambda temp: (temp - 32) / 1.8)
    rows = rows.with_columns(delay_3h=rows.columns["delay_3h"] * 60)
    whole, all_at_once = step(WATCH.start(), rows)
    state, found, start = WATCH.start(), [], 0
    for end in [*np.cumsum(sizes)[np.cumsum(sizes) < len(rows)].tolist(), len(rows)]:
        state, some = step(state, rows[slice(start, end)])
        found += [replace(finding, row=finding.row + start) for finding in some]
        start = end
    assert found == all_at_once
    assert len(found) >= 2
    assert WATCH.to_bytes(state) == WATCH.to_bytes(whole)


def test_a_step_leaves_the_old_state_good() -> None:
    state, _ = step(WATCH.start(), live())
    before = WATCH.to_bytes(state)
    once, found = step(state, live(seed=5))
    again, found_again = step(state, live(seed=5))
    assert WATCH.to_bytes(state) == before
    assert (WATCH.to_bytes(once), found) == (WATCH.to_bytes(again), found_again)


def test_a_state_survives_as_bytes_and_stays_small() -> None:
    rows = where(live(), "EWR", "temp", lambda temp: (temp - 32) / 1.8)
    half, _ = step(WATCH.start(), rows[slice(0, 2345)])
    blob = WATCH.to_bytes(half)
    _, rest = step(WATCH.from_bytes(blob), rows[slice(2345, None)])
    assert rest == step(half, rows[slice(2345, None)])[1]
    assert len(blob) < 4096


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:99] + bytes([b[99] ^ 1]) + b[100:], lambda b: b""])
def test_damaged_bytes_are_no_state(damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(SnapshotRejected):
        WATCH.from_bytes(damage(WATCH.to_bytes(WATCH.start())))


def test_a_state_of_another_reference_or_of_other_views_is_rejected() -> None:
    other = world(seed=1, days=10)
    blob = WATCH.to_bytes(WATCH.start())
    with pytest.raises(SnapshotRejected, match="another spec"):
        StructuralWatch(Reference.of(other.columns, other.origin), MAX_AGE).from_bytes(blob)
    with pytest.raises(SnapshotRejected, match="not those of this watch"):
        StructuralWatch(WATCH.reference, {}).from_bytes(blob)


def test_a_reference_survives_as_json() -> None:
    text = json.dumps(WATCH.reference.to_json(), allow_nan=False)
    back = Reference.from_json(json.loads(text))
    assert back == WATCH.reference
    assert back.digest == WATCH.reference.digest


def test_a_reference_says_what_the_training_rows_were_like() -> None:
    temp = WATCH.reference.numbers["temp"]
    column = TRAINING.columns["temp"]
    assert (temp.minimum, temp.maximum) == (np.nanmin(column), np.nanmax(column))
    assert temp.null_rate == np.isnan(column).mean()
    assert temp.sd == pytest.approx(np.nanstd(column))
    assert temp.quantiles[8] == np.nanmedian(column)
    assert temp.low < temp.minimum < temp.maximum < temp.high
    assert sum(WATCH.reference.categories["carrier"].shares.values()) == pytest.approx(1)


def test_a_season_gets_the_room_that_it_needs_and_a_clock_none() -> None:
    temp, minute = WATCH.reference.numbers["temp"], WATCH.reference.numbers["minute"]
    assert temp.high - temp.maximum > 20
    assert minute.high - minute.maximum < 60


def test_training_rows_with_a_column_of_nulls_constants_and_infinities_still_make_a_reference() -> None:
    odd = {"nothing": np.full(len(TRAINING), np.nan), "constant": np.ones(len(TRAINING))}
    odd["infinite"] = np.where(np.arange(len(TRAINING)) % 1000 == 0, np.inf, TRAINING.columns["temp"])
    odd["never"] = np.full(len(TRAINING), None, dtype=object)
    reference = Reference.of({**TRAINING.columns, **odd}, TRAINING.origin)
    json.dumps(reference.to_json(), allow_nan=False)
    watch = StructuralWatch(reference, MAX_AGE)
    rows = live()
    same = {name: column[: len(rows)] for name, column in odd.items()}
    same["infinite"] = rows.columns["temp"]
    assert findings(rows.with_columns(**same), watch) == []


def test_a_column_of_ever_new_values_is_not_unseen() -> None:
    ids = np.array([f"id-{i}" for i in range(len(TRAINING))], dtype=object)
    watch = StructuralWatch(Reference.of({**TRAINING.columns, "id": ids}, TRAINING.origin), MAX_AGE)
    rows = live()
    fresh = np.array([f"new-{i}" for i in range(len(rows))], dtype=object)
    assert findings(rows.with_columns(id=fresh), watch) == []


def test_without_segments_categories_or_numbers_the_other_checks_stand() -> None:
    rows = live()
    for columns in ({"temp": TRAINING.columns["temp"]}, {"carrier": TRAINING.columns["carrier"]}):
        watch = StructuralWatch(Reference.of(columns))
        name = next(iter(columns))
        empty = {name: np.full(len(rows), None, dtype=object)}
        _, found = watch.step(watch.start(), empty, rows.times_us)
        assert found[0].check.kind == "missing"


def test_too_few_rows_are_no_reference() -> None:
    with pytest.raises(NotReady, match="needs 5000 training rows, got 900"):
        Reference.of(world(seed=1, days=1).columns)
    with pytest.raises(NotReady, match="got 0"):
        Reference.of({})
