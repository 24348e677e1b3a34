"""Events to records, packed where that pays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from typing import Any, Final

import msgspec

from driftloop_bus.codec import encode, headers_of
from driftloop_bus.envelope import ARROW, JSON
from driftloop_bus.packing import pack, pack_rows
from driftloop_bus.ports import Outgoing
from driftloop_bus.typed_json import DECODERS
from driftloop_contracts import AnyEvent, derived_id, topic_for

# Below it an Arrow record costs its reader more than as many JSON records (109 µs for one event).
WORTH_PACKING: Final = 50
# A record of 256 costs 0.4 µs an event to read, one of 1,024 hardly less, and it must stay far below the largest value.
PACKED_ROWS: Final = 256


def to_records(events: Sequence[AnyEvent], service: str) -> list[Outgoing]:
    """The events as records, order kept within a key; 50 or more of one key are packed, 256 to a record.

    A packed record's id follows from its first event and its length: the same events packed again are the same record.
    """
    made: list[Outgoing] = []
    by_key = sorted(range(len(events)), key=lambda place: _stream(events[place], service))
    for _, places in groupby(by_key, key=lambda place: _stream(events[place], service)):
        made.extend(_one_key([events[place] for place in places], service))
    return made


def _stream(event: AnyEvent, service: str) -> tuple[str, str]:
    return topic_for(type(event.data), service).name, event.data.key()


def _one_key(events: Sequence[AnyEvent], service: str) -> list[Outgoing]:
    if len(events) < WORTH_PACKING:
        return [encode(event, service) for event in events]
    chunks = [events[start : start + PACKED_ROWS] for start in range(0, len(events), PACKED_ROWS)]
    return [record for chunk in chunks for record in _packed(chunk, service)]


def _packed(events: Sequence[AnyEvent], service: str) -> list[Outgoing]:
    try:
        value = pack(events)
    except ValueError:
        # They don't fit columns; as JSON each of them stands for itself.
        return [encode(event, service) for event in events]
    whole = replace(events[0], id=derived_id(events[0].id, f"packed {len(events)}"))
    topic, key = _stream(events[0], service)
    return [Outgoing(topic, key.encode(), value, headers_of(whole, service, ARROW))]


def repacked(records: Sequence[Outgoing]) -> list[Outgoing]:
    """The records, order kept within a key; where 50 or more JSON events of a hot topic share a key, packed.

    Only for records of ours: what they hold was checked when it was made.
    """
    by_key: dict[tuple[str, bytes | None], list[Outgoing]] = {}
    for one in records:
        by_key.setdefault((one.topic, one.key), []).append(one)
    return [made for group in by_key.values() for made in _repacked_key(group)]


def _repacked_key(records: Sequence[Outgoing]) -> list[Outgoing]:
    decoder = DECODERS.get(records[0].topic)
    if len(records) < WORTH_PACKING or decoder is None or any(_header(one, "content-type") != JSON for one in records):
        return list(records)
    chunks = [records[start : start + PACKED_ROWS] for start in range(0, len(records), PACKED_ROWS)]
    return [made for chunk in chunks for made in _repacked_chunk(chunk, decoder)]


def _repacked_chunk(records: Sequence[Outgoing], decoder: msgspec.json.Decoder[Any]) -> list[Outgoing]:
    first = records[0]
    rows = [(datetime.fromisoformat(_header(one, "ce_time")), decoder.decode(one.value)) for one in records]
    try:
        value = pack_rows(_header(first, "ce_type"), rows)
    except ValueError:
        # They don't fit columns; as JSON each of them stands for itself.
        return list(records)
    changed = {
        "ce_id": derived_id(_header(first, "ce_id"), f"packed {len(records)}").encode(),
        "content-type": ARROW.encode(),
    }
    # Each row is the first of its own chain, so the record names none.
    headers = tuple((name, changed.get(name, text)) for name, text in first.headers if name != "ce_correlationid")
    return [Outgoing(first.topic, first.key, value, headers)]


def _header(record: Outgoing, wanted: str) -> str:
    return next((value.decode() for name, value in record.headers if name == wanted), "")
