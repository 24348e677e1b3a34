"""What can go wrong with a pipeline while the world stays as it is: each fault is a world changed from a time on.

All but one are repaired, not learnt: their advice is to fix the pipeline. `late_rule` alone changes what is true.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from flights.features import ROLLING
from flights.times import DAY, minutes_at
from flights.world import ASKED_BEFORE_DEPARTURE, WEEKDAYS, World

Fault = Callable[[World, int], World]

DELAYS: Final = tuple(name for name in ROLLING if "_delay_" in name)
SHARES: Final = tuple(name for name in ROLLING if "_late_" in name)


def faulty(world: World, name: str, since: datetime) -> World:
    """The world with this fault in everything that is asked, published or comes true from `since` on.

    Raises ValueError for an unknown name, with those that are known.
    """
    if name not in FAULTS:
        raise ValueError(f"fault {name!r} is unknown; known are {', '.join(FAULTS)}")
    return FAULTS[name](world, minutes_at(since))


def ewr_celsius(world: World, since: int) -> World:
    """Newark reports its temperature in degrees Celsius."""
    at = (world.weather.origin == "EWR") & (world.weather.published_at >= since)
    return _weather(
        world, {"temp": np.where(at, (world.weather.values["temp"] - 32) / 1.8, world.weather.values["temp"])}
    )


def lga_null(world: World, since: int) -> World:
    """La Guardia's observations come, empty."""
    at = (world.weather.origin == "LGA") & (world.weather.published_at >= since)
    return _weather(world, {name: np.where(at, np.nan, column) for name, column in world.weather.values.items()})


def lga_stuck(world: World, since: int) -> World:
    """La Guardia repeats its last observation for ever."""
    here = world.weather.origin == "LGA"
    at = here & (world.weather.published_at >= since)
    last = np.flatnonzero(here & ~at)[-1]
    return _weather(world, {name: np.where(at, column[last], column) for name, column in world.weather.values.items()})


def ev_renamed(world: World, since: int) -> World:
    """Carrier EV calls itself XE, a code that no model has seen."""
    return _asked(world, since, carrier=lambda carrier: np.where(carrier == "EV", "XE", carrier))


def ev_merged(world: World, since: int) -> World:
    """Carrier EV flies as DL."""
    return _asked(world, since, carrier=lambda carrier: np.where(carrier == "EV", "DL", carrier))


def delay_in_seconds(world: World, since: int) -> World:
    """Rolling delays come in seconds."""
    return _asked(world, since, **dict.fromkeys(DELAYS, lambda minutes: minutes * 60))


def late_in_percent(world: World, since: int) -> World:
    """Rolling late shares come as percentages."""
    return _asked(world, since, **dict.fromkeys(SHARES, lambda share: share * 100))


def rolling_null(world: World, since: int) -> World:
    """The rolling features are not computed any more."""
    return _asked(world, since, **dict.fromkeys(ROLLING, lambda column: np.full(len(column), np.nan)))


def clock_utc(world: World, since: int) -> World:
    """The caller takes time of day and weekday from a clock in UTC."""
    departs_at = world.asked_at + ASKED_BEFORE_DEPARTURE
    weekday = np.array(WEEKDAYS)[(departs_at // DAY + 3) % 7]
    minute = (departs_at % DAY).astype(np.float64)
    at = world.asked_at >= since
    return _asked(world, since, minute_of_day=lambda _: minute[at], day_of_week=lambda _: weekday[at])


def late_rule(world: World, since: int) -> World:
    """A flight is late from the first minute: the one fault in which what is true has changed."""
    at = world.outcome_at >= since
    return replace(world, late=np.where(at, world.delay > 0, world.late))


FAULTS: Final[Mapping[str, Fault]] = {
    "ewr_celsius": ewr_celsius,
    "lga_null": lga_null,
    "lga_stuck": lga_stuck,
    "ev_renamed": ev_renamed,
    "ev_merged": ev_merged,
    "delay_in_seconds": delay_in_seconds,
    "late_in_percent": late_in_percent,
    "rolling_null": rolling_null,
    "clock_utc": clock_utc,
    "late_rule": late_rule,
}


def _weather(world: World, values: Mapping[str, npt.NDArray[np.float64]]) -> World:
    return replace(world, weather=replace(world.weather, values={**world.weather.values, **values}))


def _asked(world: World, since: int, **changes: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> World:
    at = world.asked_at >= since
    features = dict(world.features)
    for name, change in changes.items():
        features[name] = features[name].copy()
        features[name][at] = change(features[name][at])
    return replace(world, features=features)
