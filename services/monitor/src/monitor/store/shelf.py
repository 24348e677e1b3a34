"""References ready to compare with, kept in this process: the same digest is always the same content."""

from __future__ import annotations

import json
from typing import Final

from driftloop_detect.structural import Reference, StructuralWatch
from monitor.domain.histograms import Bins
from monitor.domain.rules import Rules
from monitor.ports import Known

# Each holds some thousand numbers; a version that is not watched any more is not asked for either.
MAX_KEPT: Final = 64


class Shelf:
    """Made from a document once, then found again."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, tuple[tuple[str, int], ...]], Known] = {}

    def find(self, digest: str, rules: Rules) -> Known | None:
        """What was made of this digest under these rules."""
        return self._known.get(_key(digest, rules))

    def made(self, digest: str, rules: Rules, document: str) -> Known:
        """Made of the document, and kept."""
        reference = Reference.from_json(json.loads(document))
        known = Known(StructuralWatch(reference, dict(rules.max_age_us)), Bins.of(reference))
        if len(self._known) >= MAX_KEPT:
            del self._known[next(iter(self._known))]
        self._known[_key(digest, rules)] = known
        return known


def _key(digest: str, rules: Rules) -> tuple[str, tuple[tuple[str, int], ...]]:
    return digest, tuple(sorted(rules.max_age_us.items()))
