"""Records of a hot topic to one batch, and the records that are bad.

Runs of JSON records become one piece, each packed record another; the pieces are joined. Pieces are dicts of columns, named
as the batch's fields.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import msgspec
import numpy as np

from driftloop_bus import json_rows, packed_rows
from driftloop_bus.batches import AnyBatch, ObservationBatch, OutcomeBatch, PredictionBatch
from driftloop_bus.envelope import Envelope, open_envelope
from driftloop_bus.errors import BadMessage
from driftloop_bus.packing import unpack
from driftloop_bus.ports import Record
from driftloop_bus.typed_json import OBSERVATION, OUTCOME, PREDICTION
from driftloop_contracts.event import NAMESPACE
from driftloop_contracts.topics import MAX_VALUE_BYTES, OBSERVATIONS, OUTCOMES, PREDICTIONS

Read = tuple[Record, Envelope, Any]
"""A record with what its value holds: a msgspec struct, or an Arrow table."""


@dataclass(frozen=True, slots=True)
class _Family:
    batch: type[AnyBatch]
    decoder: msgspec.json.Decoder[Any]
    from_json: Callable[[Sequence[Read]], dict[str, Any]]
    from_table: Callable[[Read], dict[str, Any]]


_FAMILIES: Final = {
    PREDICTIONS.name: _Family(PredictionBatch, PREDICTION, json_rows.predictions, packed_rows.predictions),
    OUTCOMES.name: _Family(OutcomeBatch, OUTCOME, json_rows.outcomes, packed_rows.outcomes),
    OBSERVATIONS.name: _Family(ObservationBatch, OBSERVATION, json_rows.observations, packed_rows.observations),
}


def read_batch(records: Sequence[Record]) -> tuple[AnyBatch | None, list[BadMessage]]:
    """The rows of these records of one partition, in order, and the bad ones with their positions.

    None when no record is good. Raises LookupError on a topic that has no batches.
    """
    found = read(records)
    return found.batch, found.bad


@dataclass(slots=True)
class Reading:
    """Records, read."""

    batch: AnyBatch | None
    bad: list[BadMessage]
    """In order, each with its position."""
    ids: dict[int, str]
    """Offset to event id of the records, rows of packed ones taken together."""


def read(records: Sequence[Record]) -> Reading:
    """As `read_batch`, with the ids of the records."""
    family = _FAMILIES[records[0].topic]
    good: list[Read] = []
    bad: list[BadMessage] = []
    for record in records:
        try:
            good.append(_read(record, family))
        except BadMessage as error:
            error.at = error.at or record.position
            bad.append(error)
    pieces = _pieces(good, family, bad)
    bad.sort(key=lambda error: error.at.offset if error.at else -1)
    ids = {record.offset: envelope.id for record, envelope, _ in good}
    return Reading(pieces[0].after(*pieces[1:]) if pieces else None, bad, ids)


def _read(record: Record, family: _Family) -> Read:
    envelope = open_envelope(record)
    if record.value is None:
        raise BadMessage("a tombstone holds no event")
    if envelope.packed:
        return record, envelope, unpack(record.value)
    if len(record.value) > MAX_VALUE_BYTES:
        raise BadMessage(f"{len(record.value)} bytes, allowed are {MAX_VALUE_BYTES}")
    try:
        value = family.decoder.decode(record.value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadMessage(f"{record.topic}: {error}"[:500]) from error
    return record, envelope, value


def _pieces(good: Sequence[Read], family: _Family, bad: list[BadMessage]) -> list[Any]:
    # A packed record is a run of its own: its place is its key; runs of JSON share one.
    runs = groupby(good, key=lambda read: read[0].offset if read[1].packed else -1)
    return [piece for _, run in runs for piece in _piece(list(run), family, bad)]


def _piece(group: Sequence[Read], family: _Family, bad: list[BadMessage]) -> list[Any]:
    """One piece; where a run of records does not fit, each of them for itself, so that only the bad one is parked."""
    packed = group[0][1].packed
    try:
        columns = family.from_table(group[0]) if packed else family.from_json(group)
    except (BadMessage, OverflowError, ValueError) as error:
        if len(group) > 1:
            return [piece for read in group for piece in _piece([read], family, bad)]
        bad.append(_bad(error, group[0][0]))
        return []
    record = group[0][0]
    common = _packed_places(group[0], columns) if packed else _places(group)
    return [family.batch(topic=record.topic, partition=record.partition, **common, **columns)]


def _bad(error: Exception, record: Record) -> BadMessage:
    made = error if isinstance(error, BadMessage) else BadMessage(f"{record.topic}: {error}"[:500])
    made.at = made.at or record.position
    return made


def _places(group: Sequence[Read]) -> dict[str, Any]:
    return {
        "offsets": np.array([record.offset for record, _, _ in group], dtype=np.int64),
        "rows": np.zeros(len(group), dtype=np.int32),
        "event_ids": [envelope.id for _, envelope, _ in group],
        "correlations": [envelope.correlation for _, envelope, _ in group],
        "tenants": [envelope.tenant for _, envelope, _ in group],
    }


def _packed_places(read: Read, columns: dict[str, Any]) -> dict[str, Any]:
    record, envelope, _ = read
    n = len(columns["times"])
    return {
        "offsets": np.full(n, record.offset, dtype=np.int64),
        "rows": np.arange(n, dtype=np.int32),
        "event_ids": derived_row_ids(envelope.id, n),
        "correlations": [envelope.correlation] * n,
        "tenants": [envelope.tenant] * n,
    }


def derived_row_ids(record_id: str, n: int) -> list[str]:
    """`derived_id(record_id, str(row))` of rows 0 to n - 1, at a quarter of the cost: the common part is hashed once."""
    begun = hashlib.sha1(NAMESPACE.bytes + f"{record_id}\n".encode(), usedforsecurity=False)
    made = []
    for row in range(n):
        whole = begun.copy()
        whole.update(str(row).encode())
        text = whole.hexdigest()
        variant = "89ab"[int(text[16], 16) & 3]
        made.append(f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}")
    return made
