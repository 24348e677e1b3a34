"""Blocks, tallies and references in Postgres."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from driftloop_contracts import Cause, derived_id
from driftloop_kit.jobs import Jobs
from monitor.domain.blocks import Block
from monitor.domain.histograms import Counts, added
from monitor.domain.rules import Rules
from monitor.ports import KeptBlock, Known
from monitor.store.shelf import Shelf

REFERENCE_JOB: Final = "reference"

_BLOCK: Final = "SELECT block, checks FROM block WHERE model = $1 AND stream = $2 AND version = $3"
_PUT_BLOCK: Final = """
INSERT INTO block (model, stream, version, block, checks) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (model, stream) DO UPDATE SET version = excluded.version, block = excluded.block, checks = excluded.checks
"""
_TALLY: Final = "SELECT counts FROM tally WHERE model = $1 AND version = $2 AND close_us = $3"
_PUT_TALLY: Final = """
INSERT INTO tally (model, version, close_us, counts) VALUES ($1, $2, $3, $4)
ON CONFLICT (model, version, close_us) DO UPDATE SET counts = excluded.counts
"""
_TALLIES: Final = "SELECT counts FROM tally WHERE model = $1 AND version = $2 AND close_us > $3 AND close_us <= $4"
_PUT_REFERENCE: Final = "INSERT INTO reference (digest, document) VALUES ($1, $2) ON CONFLICT DO NOTHING"


@dataclass(frozen=True, slots=True)
class PostgresBlocks:
    """See `ports.Blocks`."""

    connection: Any

    async def get(self, model: str, stream: str, version: str) -> KeptBlock | None:
        """See `ports.Blocks`."""
        row = await self.connection.fetchrow(_BLOCK, model, stream, version)
        return KeptBlock(msgspec.json.decode(row["block"], type=Block), row["checks"]) if row else None

    async def put(self, model: str, stream: str, version: str, block: Block, checks: bytes | None) -> None:
        """See `ports.Blocks`."""
        await self.connection.execute(_PUT_BLOCK, model, stream, version, msgspec.json.encode(block).decode(), checks)


@dataclass(frozen=True, slots=True)
class PostgresTallies:
    """See `ports.Tallies`."""

    connection: Any

    async def add(self, model: str, version: str, close_us: int, counts: Counts) -> None:
        """See `ports.Tallies`."""
        # Nobody else counts meanwhile: the model's state is locked.
        kept = await self.connection.fetchval(_TALLY, model, version, close_us)
        total = added(json.loads(kept), counts) if kept else counts
        await self.connection.execute(_PUT_TALLY, model, version, close_us, json.dumps(total))

    async def summed(self, model: str, version: str, after_us: int, until_us: int) -> Counts:
        """See `ports.Tallies`."""
        total: Counts = {}
        for row in await self.connection.fetch(_TALLIES, model, version, after_us, until_us):
            total = added(total, json.loads(row["counts"]))
        return total

    async def evict(self, model: str, until_us: int) -> None:
        """See `ports.Tallies`."""
        await self.connection.execute("DELETE FROM tally WHERE model = $1 AND close_us <= $2", model, until_us)


@dataclass(frozen=True, slots=True)
class PostgresReferences:
    """See `ports.References`."""

    connection: Any
    jobs: Jobs
    shelf: Shelf

    async def known(self, digest: str, rules: Rules) -> Known | None:
        """See `ports.References`."""
        if found := self.shelf.find(digest, rules):
            return found
        document = await self.connection.fetchval("SELECT document FROM reference WHERE digest = $1", digest)
        return self.shelf.made(digest, rules, document) if document else None

    async def want(self, digest: str, cause: Cause) -> None:
        """See `ports.References`."""
        if not await self.connection.fetchval("SELECT true FROM reference WHERE digest = $1", digest):
            await self.jobs.add(derived_id(digest, REFERENCE_JOB), REFERENCE_JOB, {"digest": digest}, cause)

    async def put(self, digest: str, document: str) -> None:
        """See `ports.References`."""
        await self.connection.execute(_PUT_REFERENCE, digest, document)
