"""What came of predictions: the rows of a service that notes each of them once, and what it told of them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import asyncpg
from tests.faults.reading import on_log
from tests.faults.verdict import Effect

from driftloop_contracts.topics import PREDICTIONS, RUNS
from driftloop_kit.testing import ServiceProcess, bare_environment
from driftloop_local.stack import LocalStack

TOYS: Final = str(Path(__file__).parent / "toys")
LOOK_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Row:
    """A prediction was noted, by a member under its claim of the partition. In the order of n."""

    part: int
    at: int
    epoch: int
    id: str
    member: str
    t: float


class Tallied:
    """The database of one group of members, and how to start them."""

    def __init__(self, stack: LocalStack, kafka: str, folder: Path) -> None:
        database = stack.create_service_database(f"tally_{os.urandom(4).hex()}")
        self._kafka, self._folder, self.url = kafka, folder, database.login_url
        environment = bare_environment() | {"PYTHONPATH": TOYS, "TALLY_DATABASE_URL": database.owner_url}
        subprocess.run([sys.executable, "-m", "tally", "migrate"], env=environment, check=True, timeout=60)

    def member(self, name: str, **settings: str) -> ServiceProcess:
        """One that is not started yet. Two of one name are one member of the group: the later one takes over."""
        folder = self._folder / f"{name}-{os.urandom(3).hex()}"
        folder.mkdir()
        return ServiceProcess("tally", self._kafka, folder, self.url, PYTHONPATH=TOYS, TALLY_MEMBER=name, **settings)

    def ask(self, query: str, *words: Any) -> list[asyncpg.Record]:
        """What the database says. Safe in any thread."""

        async def asked() -> list[asyncpg.Record]:
            connection = await asyncpg.connect(self.url, timeout=10)
            try:
                return list(await connection.fetch(query, *words))
            finally:
                await connection.close()

        return asyncio.run(asked())

    def rows(self) -> list[Row]:
        """Everything that was noted, in the order in which it was."""
        query = "SELECT part, at, epoch, id, member, extract(epoch FROM t)::float8 AS t FROM effect ORDER BY n"
        return [Row(**row) for row in self.ask(query)]

    def count(self) -> int:
        """How many predictions were noted, doubles too."""
        return int(self.ask("SELECT count(*) FROM effect")[0][0])

    def first_after(self, t: float, within_s: float) -> float:
        """When the first prediction was noted after t. Raises AssertionError when none is in time."""
        return self._seen(
            "SELECT extract(epoch FROM min(t))::float8 FROM effect WHERE t > to_timestamp($1)", t, within_s
        )

    def everywhere_by(self, member: str, within_s: float) -> float:
        """When this member had noted one of each partition. Raises AssertionError when it has not in time."""
        firsts = "SELECT extract(epoch FROM min(t))::float8 AS t FROM effect WHERE member = $1 GROUP BY part"
        whole = f"SELECT max(t) FROM ({firsts}) AS first HAVING count(*) = {PREDICTIONS.partitions}"
        return self._seen(whole, member, within_s)

    def _seen(self, query: str, word: Any, within_s: float) -> float:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if (found := self.ask(query, word)) and found[0][0] is not None:
                return float(found[0][0])
            time.sleep(LOOK_S)
        raise AssertionError(f"nothing was noted within {within_s:g} s")

    def until_all(self, ids: set[str], within_s: float) -> float:
        """Seconds until each of these was noted. What is missing then is for the judge to say."""
        began = time.monotonic()
        while time.monotonic() - began < within_s:
            if ids <= {row["id"] for row in self.ask("SELECT DISTINCT id FROM effect")}:
                break
            time.sleep(4 * LOOK_S)
        return time.monotonic() - began

    def untold(self) -> int:
        """How many noted predictions were not told of on the log, within a minute."""
        noted = {row.id for row in self.rows()}
        deadline = time.monotonic() + 60
        while (missing := noted - asyncio.run(_told(self._kafka))) and time.monotonic() < deadline:
            time.sleep(1)
        return len(missing)


async def _told(kafka: str) -> set[str]:
    return {(record.value or b"").decode() for record in await on_log(kafka, RUNS.name)}


def effects(rows: Sequence[Row]) -> list[Effect]:
    """Their ids are `client:seq`."""
    return [Effect(row.id.partition(":")[0], row.id, int(row.id.partition(":")[2])) for row in rows]


def zombie_rows(rows: Sequence[Row]) -> int:
    """Rows under a claim that another had taken over: an epoch goes back, or has two members."""
    highest, owners, found = dict[int, int](), dict[tuple[int, int], str](), 0
    for row in rows:
        owner = owners.setdefault((row.part, row.epoch), row.member)
        found += row.epoch < highest.get(row.part, 0) or owner != row.member
        highest[row.part] = max(highest.get(row.part, 0), row.epoch)
    return found


def regressions(rows: Sequence[Row]) -> int:
    """How often a partition went back, or stood still."""
    last: dict[int, int] = {}
    found = 0
    for row in rows:
        # A record may hold several rows.
        found += row.at < last.get(row.part, -1)
        last[row.part] = row.at
    return found


def longest_still_s(rows: Sequence[Row], since: float, until: float) -> float:
    """The longest time in which nothing was noted."""
    moments = [since, *sorted(row.t for row in rows if since <= row.t <= until), until]
    return max(later - earlier for earlier, later in pairwise(moments))
