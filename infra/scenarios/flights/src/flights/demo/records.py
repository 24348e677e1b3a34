"""Slices of the world as records of the log, many rows in each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from driftloop_bus.codec import headers_of
from driftloop_bus.envelope import ARROW
from driftloop_bus.packing import pack_columns
from driftloop_bus.ports import Outgoing
from driftloop_contracts import AnyEvent, Fact, derived_id, first
from driftloop_contracts.data_plane import ObservationMade, OutcomeObserved, PredictionMade
from driftloop_contracts.topics import OBSERVATIONS, OUTCOMES, OUTSIDE, PREDICTIONS

MODEL: Final = "flight-delay"
SOURCE: Final = "/producers/flights"
# 1,000 rows of 20 columns weigh some 200 kB: well below the largest value, and few records for half a year.
ROWS_A_RECORD: Final = 1_000
HISTORY: Final = "history"


def predictions(rows: pa.Table, variant: str = HISTORY, model: str = MODEL) -> Iterator[Outgoing]:
    """Predictions as packed records of the model's stream."""
    given = rows.append_column("variant", pa.array([variant] * len(rows), pa.string()))
    for chunk, at in chunks(given):
        fact = PredictionMade(prediction_id=chunk["prediction_id"][0].as_py(), model=model)
        yield packed(PREDICTIONS.name, model, chunk, fact, f"{model} {variant} predictions {at}")


def outcomes(rows: pa.Table, variant: str | None = HISTORY, model: str = MODEL) -> Iterator[Outgoing]:
    """Outcomes as packed records of the model's stream."""
    given = rows.append_column("variant", pa.array([variant] * len(rows), pa.string()))
    for chunk, at in chunks(given):
        moment = chunk["time"][0].as_py()
        fact = OutcomeObserved(
            model=model, prediction_id=chunk["prediction_id"][0].as_py(), value=0, observed_at=moment
        )
        yield packed(OUTCOMES.name, model, chunk, fact, f"{model} {variant} outcomes {at} {moment}")


def observations(view: str, rows: pa.Table) -> Iterator[Outgoing]:
    """Observations as packed records, each of one entity."""
    for entity in pc.unique(rows["entity"]).to_pylist():
        for chunk, at in chunks(rows.filter(pc.equal(rows["entity"], entity)).drop_columns(["entity"])):
            moment = chunk["time"][0].as_py()
            fact = ObservationMade(view=view, entity=entity, values={}, time=moment)
            yield packed(OBSERVATIONS.name, f"{view}/{entity}", chunk, fact, f"{view} {entity} {at} {moment}")


def packed(topic: str, key: str, rows: pa.Table, sample: Fact, name: str) -> Outgoing:
    """One record; its id follows from what it is, so that loading twice is loading once."""
    event: AnyEvent = first(sample, id=derived_id(SOURCE, name), time=rows["time"][0].as_py())
    headers = [(word, value) for word, value in headers_of(event, OUTSIDE, ARROW) if word != "ce_source"]
    return Outgoing(topic, key.encode(), pack_columns(dict(zip(rows.column_names, rows.columns, strict=True))),
                    (*headers, ("ce_source", SOURCE.encode())))  # fmt: skip


def chunks(rows: pa.Table) -> Iterator[tuple[pa.Table, int]]:
    """The rows in pieces, each with the number of its first row."""
    for start in range(0, len(rows), ROWS_A_RECORD):
        yield rows.slice(start, ROWS_A_RECORD).combine_chunks(), start
