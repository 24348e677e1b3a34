"""Blocks, tallies and references in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from driftloop_contracts import Cause
from monitor.domain.blocks import Block
from monitor.domain.histograms import Counts, added
from monitor.domain.rules import Rules
from monitor.ports import KeptBlock, Known
from monitor.store.shelf import Shelf

Store = dict[Any, Any]


@dataclass(frozen=True, slots=True)
class MemoryBlocks:
    """See `ports.Blocks`."""

    connection: Store

    async def get(self, model: str, stream: str, version: str) -> KeptBlock | None:
        """See `ports.Blocks`."""
        kept: tuple[str, KeptBlock] | None = self.connection.setdefault("block", {}).get((model, stream))
        return kept[1] if kept and kept[0] == version else None

    async def put(self, model: str, stream: str, version: str, block: Block, checks: bytes | None) -> None:
        """See `ports.Blocks`."""
        self.connection.setdefault("block", {})[model, stream] = (version, KeptBlock(block, checks))


@dataclass(frozen=True, slots=True)
class MemoryTallies:
    """See `ports.Tallies`."""

    connection: Store

    async def add(self, model: str, version: str, close_us: int, counts: Counts) -> None:
        """See `ports.Tallies`."""
        table = self.connection.setdefault("tally", {})
        table[model, version, close_us] = added(table.get((model, version, close_us), {}), counts)

    async def summed(self, model: str, version: str, after_us: int, until_us: int) -> Counts:
        """See `ports.Tallies`."""
        total: Counts = {}
        for (of, by, close_us), counts in self.connection.setdefault("tally", {}).items():
            if (of, by) == (model, version) and after_us < close_us <= until_us:
                total = added(total, counts)
        return total

    async def evict(self, model: str, until_us: int) -> None:
        """See `ports.Tallies`."""
        table = self.connection.setdefault("tally", {})
        for key in [key for key in table if key[0] == model and key[2] <= until_us]:
            del table[key]


@dataclass(frozen=True, slots=True)
class MemoryReferences:
    """See `ports.References`. What is wanted stands in `connection["wanted"]`."""

    connection: Store
    shelf: Shelf

    async def known(self, digest: str, rules: Rules) -> Known | None:
        """See `ports.References`."""
        if found := self.shelf.find(digest, rules):
            return found
        document: str | None = self.connection.setdefault("reference", {}).get(digest)
        return self.shelf.made(digest, rules, document) if document else None

    async def want(self, digest: str, cause: Cause) -> None:
        """See `ports.References`."""
        if digest not in self.connection.setdefault("reference", {}):
            self.connection.setdefault("wanted", {})[digest] = cause

    async def put(self, digest: str, document: str) -> None:
        """See `ports.References`."""
        self.connection.setdefault("reference", {}).setdefault(digest, document)
