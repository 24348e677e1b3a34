"""A topic as a file: every record with its place, its headers and its value, one JSON line each, compressed."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from driftloop_bus.ports import Record

ENDING: Final = ".jsonl.zst"
HERE: Final = Path(__file__).parent


def releases() -> list[Path]:
    """The folder of every release whose topics are kept."""
    return sorted(path for path in HERE.iterdir() if (path / "recorded.json").exists())


def write(folder: Path, topic: str, records: Iterable[Record]) -> None:
    """The topic's file is there; the same records are the same bytes."""
    lines = "".join(json.dumps(_told(record), ensure_ascii=False) + "\n" for record in records)
    with pa.output_stream(folder / f"{topic}{ENDING}", compression="zstd") as file:
        file.write(lines.encode())


def read(folder: Path) -> list[Record]:
    """Every record of every topic, in the order in which the log took them."""
    found: list[Record] = []
    for path in sorted(folder.glob(f"*{ENDING}")):
        with pa.input_stream(path, compression="zstd") as file:
            lines = file.read().decode().splitlines()
        found += [_heard(path.name.removesuffix(ENDING), json.loads(line)) for line in lines]
    # Stable: what one millisecond brought to one partition stays in order.
    return sorted(found, key=lambda record: record.timestamp_ms)


def said(records: Sequence[Record]) -> dict[str, str]:
    """The events' ids, each with a digest of what it says."""
    return {dict(record.headers)["ce_id"].decode(): _digest(record.value) for record in records}


def _digest(value: bytes | None) -> str:
    told = json.loads(value or b"null")
    if isinstance(told, dict) and "window" in told:
        # How far its reader was: on another day it may have been further.
        told["window"].pop("offsets", None)
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _told(record: Record) -> dict[str, Any]:
    return {
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "key": _bytes(record.key),
        "headers": [[name, _bytes(value)] for name, value in record.headers],
        "value": _bytes(record.value),
    }


def _heard(topic: str, told: dict[str, Any]) -> Record:
    headers = tuple((name, _told_bytes(value) or b"") for name, value in told["headers"])
    return Record(
        topic, told["partition"], told["offset"], told["timestamp_ms"], _told_bytes(told["key"]),
        _told_bytes(told["value"]), headers,
    )  # fmt: skip


def _bytes(value: bytes | None) -> str | dict[str, str] | None:
    """Text as it is, so that a person can read it and it compresses; anything else in base64."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _told_bytes(told: str | dict[str, str] | None) -> bytes | None:
    if told is None:
        return None
    return told.encode() if isinstance(told, str) else base64.b64decode(told["base64"])
