"""What stock clients sent to a stock server, and what it answered: golden requests, one exchange a line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RECORDINGS = Path(__file__).parent / "recordings"
# Long values were cut when they were recorded.
_CUT_TEXT = re.compile(r"(.)\1*…\((\d+) chars\)", re.DOTALL)
_CUT_LIST = re.compile(r"…\((\d+) items\)")


def exchanges(name: str) -> list[dict[str, Any]]:
    """The lines of one recording."""
    return [json.loads(line) for line in (RECORDINGS / name).read_text().splitlines()]


def whole(value: Any) -> Any:
    """The value as it was before it was cut."""
    if isinstance(value, str):
        cut = _CUT_TEXT.fullmatch(value)
        return cut[1] * int(cut[2]) if cut else value
    if isinstance(value, dict):
        return {key: whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return _whole_list(value)
    return value


def _whole_list(value: list[Any]) -> list[Any]:
    cut = _CUT_LIST.fullmatch(value[-1]) if value and isinstance(value[-1], str) else None
    if cut is None:
        return [whole(inner) for inner in value]
    return [_numbered(value[0], place) for place in range(int(cut[1]))]


def _numbered(item: Mapping[str, Any], place: int) -> dict[str, Any]:
    """The items of a cut list differ in the number of their key, where it has one."""
    return {name: re.sub(r"0$", str(place), inner) if name == "key" else inner for name, inner in item.items()}
