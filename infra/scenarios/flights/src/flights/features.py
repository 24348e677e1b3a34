"""The 26 features: which they are, of which type, and who brings each."""

from collections.abc import Mapping
from typing import Final

from driftloop_models import FeatureType

# What the schedule says about a departure.
SCHEDULE: Final[Mapping[str, FeatureType]] = {
    "carrier": "category",
    "origin": "category",
    "dest": "category",
    "day_of_week": "category",
    "minute_of_day": "number",
    "distance": "number",
}

# From outcomes that had arrived by the time of the prediction; see `rolling.py`.
ROLLING: Final[Mapping[str, FeatureType]] = {
    "origin_late_3h": "number",
    "origin_delay_3h": "number",
    "origin_count_3h": "number",
    "carrier_origin_late_6h": "number",
    "carrier_origin_delay_6h": "number",
    "carrier_origin_count_6h": "number",
    "origin_late_24h": "number",
    "carrier_origin_late_24h": "number",
    "dest_late_24h": "number",
}

# From the newest observation of the airport that was published by then; see `weather.py`.
WEATHER: Final[Mapping[str, FeatureType]] = {
    "temp": "number",
    "dewp": "number",
    "humid": "number",
    "wind": "number",
    "gust": "number",
    "precip": "number",
    "precip_6h": "number",
    "pressure": "number",
    "visib": "number",
}

# From the observation of the aircraft: the feature's name, and what the plane view calls it.
PLANE: Final[Mapping[str, FeatureType]] = {"plane_year": "number", "plane_seats": "number"}
PLANE_FIELDS: Final[Mapping[str, str]] = {"plane_year": "year", "plane_seats": "seats"}

# What the caller of a prediction sends; the feature store knows the rest.
OF_THE_CALLER: Final[Mapping[str, FeatureType]] = {**SCHEDULE, **ROLLING}
FEATURES: Final[Mapping[str, FeatureType]] = {**OF_THE_CALLER, **WEATHER, **PLANE}
