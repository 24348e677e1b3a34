"""Each fault shows where it is said to show; the loss alone finds one, and that one is no fault of a pipeline."""

import numpy as np
import pytest

from flights.faults import DELAYS, FAULTS, SHARES, faulty
from flights.features import ROLLING, WEATHER
from flights.offline import Seen, Version, log_losses, seen, version, watch
from flights.story import FAULT_CHAMPION_UNTIL, FAULT_FROM, FAULT_UNTIL
from flights.times import DAY, minutes_at
from flights.world import World

pytestmark = pytest.mark.world

SINCE, UNTIL = minutes_at(FAULT_FROM), minutes_at(FAULT_UNTIL)


def first_thousand(year: Seen) -> dict[str, np.ndarray]:
    """The features of the first 1,000 predictions under the fault."""
    start = int(np.searchsorted(year.asked_at, SINCE))
    return {name: column[start : start + 1000] for name, column in year.features.items()}


def under(world: World, name: str) -> dict[str, np.ndarray]:
    return first_thousand(seen(faulty(world, name, FAULT_FROM)))


def test_an_unknown_fault_is_refused_with_those_that_exist(world: World) -> None:
    with pytest.raises(ValueError, match="'gremlins' is unknown; known are ewr_celsius, lga_null"):
        faulty(world, "gremlins", FAULT_FROM)


@pytest.mark.parametrize("name", FAULTS)
def test_nothing_changes_before_the_fault_and_something_does_after(name: str, world: World) -> None:
    broken, whole = seen(faulty(world, name, FAULT_FROM)), seen(world)
    before = whole.asked_at < SINCE
    for feature, column in whole.features.items():
        assert np.array_equal(column[before], broken.features[feature][before], equal_nan=column.dtype.kind == "f")
    settled = whole.outcome_at < SINCE
    assert np.array_equal(whole.late[settled], broken.late[settled])
    changed = [
        feature
        for feature, column in whole.features.items()
        if not np.array_equal(column, broken.features[feature], equal_nan=column.dtype.kind == "f")
    ]
    assert changed or not np.array_equal(whole.late, broken.late)


def test_celsius_lies_in_range_and_against_the_other_stations(world: World) -> None:
    rows = under(world, "ewr_celsius")
    here = rows["origin"] == "EWR"
    assert np.nanmin(rows["temp"]) > np.nanmin(seen(world).features["temp"])  # a range check sees nothing
    assert np.nanmedian(rows["temp"][~here]) - np.nanmedian(rows["temp"][here]) > 30


def test_null_weather_is_a_third_of_a_thousand_rows(world: World) -> None:
    assert np.isnan(under(world, "lga_null")["visib"]).mean() == pytest.approx(0.33, abs=0.05)


def test_stuck_weather_has_no_variance(world: World) -> None:
    rows = under(world, "lga_stuck")
    here = rows["origin"] == "LGA"
    for name in WEATHER:
        assert len(np.unique(rows[name][here])) == 1, name
    assert len(np.unique(rows["temp"][~here])) > 10


def test_a_renamed_carrier_is_one_row_in_six_unseen(world: World) -> None:
    unseen = ~np.isin(under(world, "ev_renamed")["carrier"], np.unique(world.features["carrier"]))
    assert unseen.mean() == pytest.approx(0.18, abs=0.03)


def test_a_merged_carrier_changes_the_mix(world: World) -> None:
    mixed, before = under(world, "ev_merged")["carrier"], first_thousand(seen(world))["carrier"]
    assert (mixed == "DL").mean() > 2 * (before == "DL").mean()
    assert not (mixed == "EV").any()


@pytest.mark.parametrize(("fault", "features"), [("delay_in_seconds", DELAYS), ("late_in_percent", SHARES)])
def test_another_unit_is_out_of_range(fault: str, features: tuple[str, ...], world: World) -> None:
    rows = under(world, fault)
    for name in features:
        assert np.nanmax(rows[name]) > np.nanmax(world.features[name][world.asked_at < SINCE]), name


def test_rolling_features_that_are_not_computed_are_all_null(world: World) -> None:
    rows = under(world, "rolling_null")
    assert all(np.isnan(rows[name]).all() for name in ROLLING)


def test_a_clock_in_utc_is_four_hours_ahead(world: World) -> None:
    ahead = under(world, "clock_utc")["minute_of_day"] - first_thousand(seen(world))["minute_of_day"]
    assert set(ahead % 1440) == {240.0}


@pytest.fixture(scope="module")
def champion(year: Seen) -> Version:
    return version(year, "boosted", minutes_at(FAULT_CHAMPION_UNTIL))


@pytest.fixture(scope="module")
def sound_loss(year: Seen, champion: Version) -> float:
    return four_weeks(year, champion)


def four_weeks(year: Seen, champion: Version) -> float:
    rows = np.flatnonzero(year.labelled & (year.asked_at >= SINCE) & (year.outcome_at <= UNTIL))
    return float(log_losses(year, champion.model, rows).mean())


@pytest.mark.parametrize("name", FAULTS)
def test_the_loss_rises_and_asks_for_a_retrain_only_where_truth_has_changed(
    name: str, world: World, champion: Version, sound_loss: float
) -> None:
    year = seen(faulty(world, name, FAULT_FROM))
    assert four_weeks(year, champion) > sound_loss
    assert bool(watch(year, champion, champion.until, UNTIL)) == (name == "late_rule")


def test_another_rule_of_what_is_late_is_found_after_ten_days(world: World, champion: Version) -> None:
    first = watch(seen(faulty(world, "late_rule", FAULT_FROM)), champion, champion.until, UNTIL)[0]
    assert first - SINCE == pytest.approx(10 * DAY, abs=2 * DAY)


def test_a_sound_autumn_is_quiet(year: Seen, champion: Version) -> None:
    assert watch(year, champion, champion.until, UNTIL) == []
