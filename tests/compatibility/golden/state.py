"""What a service remembers, as a digest of each of its tables: equal digests are equal rows, in whatever order they came.

A release that remembers more than an earlier one is held to what that one remembered.

Left out is what is no decision: offsets, inbox, outbox and jobs; the wall clock of whoever wrote; and what reached the registry
by MLflow's door and not by a topic.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg

KIT: Final = frozenset({"consumer_offset", "inbox", "outbox", "job"})
BY_A_DOOR: Final = ("experiment", "run", "logged_model", "file")
# `recorded_at` is the writer's clock; `came` counts inserts, `*_ms` is when MLflow's row was made.
CLOCKS: Final = frozenset({"recorded_at", "came", "created_ms", "updated_ms"})
_TABLES: Final = """
SELECT table_name, column_name, data_type FROM information_schema.columns
WHERE table_schema = 'public' ORDER BY table_name, ordinal_position
"""


@dataclass(frozen=True, slots=True)
class Table:
    """What one table holds."""

    digest: str
    fields: tuple[str, ...]
    """Its columns; of a state that is kept as a document also the document's fields."""


async def state_of(url: str, known: Mapping[str, Table] | None = None) -> dict[str, Table]:
    """What each table holds, of the fields that `known` names, where it is given: a later release may remember more."""
    rows = await rows_in(url)
    named = {table: tuple(known[table].fields) for table in known} if known else {}
    return {table: _held(lines, named.get(table)) for table, lines in rows.items() if not known or table in known}


def _held(lines: list[str], named: tuple[str, ...] | None) -> Table:
    rows = [json.loads(line) for line in lines]
    fields = tuple(sorted({field for row in rows for field in _fields(row)})) if named is None else named
    return Table(digest(sorted(json.dumps(_of(row, set(fields)), sort_keys=True) for row in rows)), fields)


def _fields(row: dict[str, Any]) -> list[str]:
    return [*row, *(f"state.{name}" for name in _document(row))]


def _of(row: dict[str, Any], fields: set[str]) -> dict[str, Any]:
    kept = {name: value for name, value in row.items() if name in fields}
    if document := _document(row):
        kept["state"] = {name: value for name, value in document.items() if f"state.{name}" in fields}
    return kept


def _document(row: dict[str, Any]) -> dict[str, Any]:
    state = row.get("state")
    return state if isinstance(state, dict) else {}


async def rows_in(url: str) -> dict[str, list[str]]:
    """Table to its rows, each in one canonical line, sorted."""
    connection = await asyncpg.connect(url)
    try:
        # One moment for all tables.
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return {name: await _rows(connection, name, kinds) for name, kinds in await _tables(connection)}
    finally:
        await connection.close()


async def _rows(connection: Any, table: str, kinds: dict[str, str]) -> list[str]:
    return sorted(
        json.dumps(
            {name: _plain(row[name], kind) for name, kind in kinds.items() if name not in CLOCKS}, sort_keys=True
        )
        for row in await connection.fetch(f'SELECT * FROM "{table}"')
    )


def digest(lines: list[str]) -> str:
    """Of all lines, with how many they are in front."""
    return f"{len(lines)} rows, sha256:{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"


async def _tables(connection: Any) -> list[tuple[str, dict[str, str]]]:
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in await connection.fetch(_TABLES):
        if table not in KIT and not table.startswith(BY_A_DOOR):
            found.setdefault(table, {})[column] = kind
    # Where migrations stand is no state of the service's.
    return [(table, kinds) for table, kinds in found.items() if kinds.keys() != {"version_num"}]


def _plain(value: Any, kind: str) -> Any:
    match value:
        case str() if kind in ("json", "jsonb"):
            return _without_clocks(json.loads(value))
        case datetime():
            return value.isoformat()
        case bytes():
            return value.hex()
        case list():
            return [_plain(one, "") for one in value]
    return value


def _without_clocks(value: Any) -> Any:
    match value:
        case dict():
            return {name: _without_clocks(one) for name, one in value.items() if name not in CLOCKS}
        case list():
            return [_without_clocks(one) for one in value]
    return value
