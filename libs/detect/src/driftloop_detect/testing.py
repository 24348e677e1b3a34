"""A made-up airport world to test structural checks on: seasons, weekdays, weather that siblings share, bursts of nulls."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

HOUR_US = 3_600_000_000
STATIONS = ("EWR", "JFK", "LGA")
CARRIERS, SHARES = ("UA", "B6", "EV", "DL", "AA", "HA"), (0.28, 0.22, 0.18, 0.2, 0.115, 0.005)
PER_DAY = 900


@dataclass(frozen=True)
class Rows:
    """Rows in time order."""

    columns: dict[str, NDArray[Any]]
    times_us: NDArray[np.int64]
    weather_us: NDArray[np.int64]

    @property
    def origin(self) -> NDArray[Any]:
        return self.columns["origin"]

    def __len__(self) -> int:
        return len(self.times_us)

    def __getitem__(self, part: slice) -> "Rows":
        columns = {name: column[part] for name, column in self.columns.items()}
        return Rows(columns, self.times_us[part], self.weather_us[part])

    def with_columns(self, **columns: NDArray[Any]) -> "Rows":
        return replace(self, columns={**self.columns, **columns})


def red_noise(random: np.random.Generator, n: int, keep: float) -> NDArray[np.float64]:
    """Noise that remembers: each step keeps a part of the last."""
    noise, out = random.standard_normal(n) * np.sqrt(1 - keep**2), np.zeros(n)
    for i in range(1, n):
        out[i] = keep * out[i - 1] + noise[i]
    return out


def world(seed: int, days: int, first_day: int = 0) -> Rows:
    """Predictions of some days, two hours before departure, with hourly weather of three stations."""
    random = np.random.default_rng(seed)
    hours = np.arange(days * 24)
    season = 55 + 25 * np.sin(2 * np.pi * ((first_day * 24 + hours) / 8760 - 0.3))
    shared = season + 8 * red_noise(random, len(hours), 0.97) + 6 * np.sin(2 * np.pi * (hours - 9) / 24)
    storm = red_noise(random, len(hours), 0.95)
    day = np.repeat(np.arange(days), PER_DAY)
    weekend = (day + first_day) % 7 >= 5
    minute = np.sort(random.integers(300, 1440, len(day)).reshape(days, PER_DAY), axis=1).ravel()
    minute = np.where(weekend, np.minimum(1439, minute + 20), minute)
    hour, station = day * 24 + minute // 60, random.integers(0, 3, len(day))
    temp, precip = np.zeros(len(day)), np.zeros(len(day))
    for s in range(3):
        own = shared + 1.5 * red_noise(random, len(hours), 0.9)
        rain = np.maximum(0, storm - 2 + 0.3 * red_noise(random, len(hours), 0.5)) * 0.2
        temp[station == s] = np.round(own, 1)[hour[station == s]]
        precip[station == s] = np.round(rain, 2)[hour[station == s]]
    outage = (random.random(len(hours)) < 0.002)[hour]
    delay = np.clip(20 * storm[hour] + 30 * random.standard_normal(len(day)) + 10, -30, 180)
    delay[minute < 400] = np.nan
    columns = {
        "origin": np.array(STATIONS, dtype=object)[station],
        "carrier": random.choice(np.array(CARRIERS, dtype=object), len(day), p=SHARES),
        "minute": minute.astype(np.float64),
        "temp": np.where(outage, np.nan, temp),
        "precip": np.where(outage, np.nan, precip),
        "delay_3h": delay,
        "late_share": np.where(np.isnan(delay), np.nan, np.round(1 / (1 + np.exp(-delay / 30)), 2)),
        "night": minute > 1200,
    }
    return Rows(columns, (hour * HOUR_US).astype(np.int64), ((hour - 1) * HOUR_US).astype(np.int64))
