"""The audit's chain: each digest covers the one before it, so no record in the middle changes unseen."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

GENESIS: Final = "sha256:" + "0" * 64
"""The digest before the first record."""

Detail = bool | int | float | str | None


def chained(
    previous: str, *, about: str, sequence: int, actor: str, action: str, details: Mapping[str, Detail], at: datetime
) -> str:
    """The digest of one record on top of `previous`: sha256 of canonical JSON (sorted keys, no spaces, UTF-8)."""
    record = {
        "about": about, "action": action, "actor": actor, "at": at.astimezone(UTC).isoformat(), "details": dict(details),
        "previous": previous, "sequence": sequence,
    }  # fmt: skip
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
