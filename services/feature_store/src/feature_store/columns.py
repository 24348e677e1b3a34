"""JSON objects, a text each, as typed columns: by Arrow's own reader, and where that is too strict one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

# No row comes near: a record of the log has at most 512 KiB.
BLOCK_BYTES: Final = 8 * 1024 * 1024
TYPES: Final = {"number": pa.float64(), "category": pa.string(), "boolean": pa.bool_()}
_objects: Final = msgspec.json.Decoder(dict[str, Any])


class ColumnOdd(Exception):  # a fact about data
    """A stored value is not what the declaration says."""


def typed_columns(texts: pa.ChunkedArray, kinds: Mapping[str, str]) -> dict[str, pa.Array]:
    """A column of each name, null where an object lacks it. Raises ColumnOdd for a value that is not of its kind.

    kinds: name to number, category or boolean. A category that is no text is its text: 5 and 5.0 are both "5".
    """
    if not len(texts) or not kinds:
        return {name: pa.nulls(len(texts), TYPES[kind]) for name, kind in kinds.items()}
    try:
        table = _read(texts, kinds)
    except pa.ArrowInvalid:
        rows = [_objects.decode(text) for text in texts.to_pylist()]
        return {name: _typed([row.get(name) for row in rows], name, kind) for name, kind in kinds.items()}
    return {name: table[name].combine_chunks() for name in kinds}


def scalar(value: Any, name: str, kind: str) -> pa.Scalar:
    """The value as one of its kind. Raises ColumnOdd."""
    return _typed([value], name, kind)[0]


def _read(texts: pa.ChunkedArray, kinds: Mapping[str, str]) -> pa.Table:
    # The texts of an array lie end to end in one buffer, which is then the file.
    nothing, new_line = (pa.scalar(text, pa.large_string()) for text in ("", "\n"))
    ended = pc.binary_join_element_wise(texts.cast(pa.large_string()).combine_chunks(), nothing, new_line)
    lines = ended.buffers()[2]
    schema = pa.schema([(name, TYPES[kind]) for name, kind in kinds.items()])
    return pj.read_json(
        pa.BufferReader(lines),
        read_options=pj.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
        parse_options=pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    )


def _typed(values: list[Any], name: str, kind: str) -> pa.Array:
    try:
        made = [None if value is None else _MADE[kind](value) for value in values]
    except (ValueError, TypeError, OverflowError) as odd:
        raise ColumnOdd(f"feature {name} is declared a {kind}: {odd}") from odd
    return pa.array(made, TYPES[kind])


def _boolean(value: Any) -> bool:
    if value not in (0, 1):
        raise ValueError(f"{value!r} is neither true nor false")
    return bool(value)


def _number(value: Any) -> float:
    if isinstance(value, str):
        raise ValueError(f"{value!r} is text")
    return float(value)


def text_of(value: Any) -> str:
    """A value as text, as whoever wrote it would: a whole number without a point."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


_MADE: Final[Mapping[str, Any]] = {"number": _number, "category": text_of, "boolean": _boolean}
