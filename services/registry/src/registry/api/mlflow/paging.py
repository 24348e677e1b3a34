"""MLflow's page tokens and searches."""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

from registry.domain.search import BadSearch, Rules, Search, parse, parse_order
from registry.handlers.refused import invalid
from registry.ports.tracking import Page


def search(text: str | None, order_by: Sequence[str], rules: Rules) -> Search:
    """The client's filter and order."""
    try:
        return Search(parse(text or "", rules), tuple(parse_order(key, rules) for key in order_by))
    except BadSearch as error:
        raise invalid(str(error)) from error


def page(token: str | None, limit: int) -> Page:
    """From the token of an earlier answer, or from the start."""
    return Page(limit, _offset(token) if token else 0)


def next_token(more: bool, asked: Page) -> dict[str, str]:
    """The token of the next page, if there is one."""
    if not more:
        return {}
    text = json.dumps({"offset": asked.offset + asked.limit})
    return {"next_page_token": base64.b64encode(text.encode()).decode()}


def cut(rows: Sequence[Any], asked: Page) -> tuple[Sequence[Any], dict[str, str]]:
    """The page of rows that may hold one more."""
    return rows[: asked.limit], next_token(len(rows) > asked.limit, asked)


def _offset(token: str) -> int:
    try:
        text = base64.b64decode(token)
    except (binascii.Error, ValueError) as error:
        raise invalid("Invalid page token, could not base64-decode") from error
    try:
        said = json.loads(text)
    except ValueError as error:
        raise invalid(f"Invalid page token, decoded value={text!r}") from error
    offset = said.get("offset") if isinstance(said, dict) else None
    if isinstance(offset, bool) or not isinstance(offset, int) or not 0 <= offset < 2**31:
        raise invalid(f"Invalid page token, parsed value={said}")
    return offset
