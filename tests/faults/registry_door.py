"""A registry of one's own on the real stack, and the judge of what its clients were told."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.account import Line
from tests.faults.verdict import Effect, Verdict, judge
from tests.faults.writers import in_rows, on_topic

from driftloop_kit.schema import migrate
from driftloop_local.databases import ServiceDatabase
from driftloop_local.stack import LocalStack


@dataclass(frozen=True, slots=True)
class Found:
    """What the clients were told, against the two places where it must be found."""

    in_rows: Verdict
    on_topic: Verdict
    untold: int
    """Changes in the tables without their event, and events without a change."""
    told_again: int
    """Records of an event that stood on the topic already. Allowed: readers take an id once."""


async def a_database(stack: LocalStack) -> ServiceDatabase:
    """A fresh one with the registry's tables."""
    made = stack.create_service_database(f"registry_{uuid.uuid4().hex[:8]}")
    await migrate("registry", made.owner_url)
    return made


async def verdicts(lines: Sequence[Line], owner_url: str, kafka: str) -> Found:
    """Call it when nothing waits to be sent."""
    rows = await in_rows(owner_url)
    events, again = await on_topic(kafka)
    return Found(judge(lines, rows), judge(lines, events), len(_ids(rows) ^ _ids(events)), again)


def _ids(effects: Sequence[Effect]) -> set[str]:
    return {effect.id for effect in effects}
