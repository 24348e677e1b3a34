"""R2: the log heard a second time by a database that knows it: no row changes, and nobody is alarmed again.

The offsets of every partition are set back to 0 while the services are down, as by a mistake with a tool; then the monitor and the
feature store read everything anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
import pytest
from tests.compatibility.golden.state import rows_in
from tests.faults.late_world import LateWorld, a_view, readings
from tests.faults.reading import ends, send, until_read
from tests.faults.report import Report
from tests.faults.results import size

from driftloop_bus.ports import Outgoing
from driftloop_bus.testing import publish
from driftloop_contracts.topics import (
    DECLARATIONS,
    DEPLOYMENTS,
    DRIFT,
    FEATURES,
    JUDGEMENTS,
    MEASUREMENTS,
    OBSERVATIONS,
    OUTCOMES,
    PREDICTIONS,
    RETRAINING,
)
from driftloop_kit.testing import running

pytestmark = [pytest.mark.faults, pytest.mark.stack]
PREDICTIONS_OF: Final = {"whole": 102_600, "fast": 10_260}
READINGS: Final = {"whole": 20_000, "fast": 4_000}
WITHIN_S: Final = 300.0
SAID: Final = [topic.name for topic in (DRIFT, RETRAINING, JUDGEMENTS, MEASUREMENTS, FEATURES)]
READ: Final = {
    "monitor": [topic.name for topic in (DECLARATIONS, DEPLOYMENTS, PREDICTIONS, OUTCOMES)],
    "feature_store": [topic.name for topic in (DECLARATIONS, OBSERVATIONS)],
}


@dataclass(frozen=True)
class Place:
    """The two services' databases on one log."""

    kafka: str
    folder: Path
    urls: dict[str, str]

    async def read(self, told: Sequence[Outgoing] = ()) -> None:
        """Both have read all of the log, and this that is told meanwhile; then they are gone."""
        with (
            running("monitor", self.kafka, self.folder, self.urls["monitor"]),
            running("feature_store", self.kafka, self.folder, self.urls["feature_store"]),
        ):
            await send(self.kafka, told)
            for name, url in self.urls.items():
                await until_read(url, await ends(self.kafka, READ[name]), WITHIN_S)

    async def set_back(self) -> int:
        """Every partition is to be read from its beginning; how many records that are."""
        records = 0
        for url in self.urls.values():
            connection = await asyncpg.connect(url)
            records += await connection.fetchval("SELECT sum(next_offset)::bigint FROM consumer_offset")
            await connection.execute("UPDATE consumer_offset SET next_offset = 0")
            await connection.close()
        return records

    async def rows(self) -> set[tuple[str, str, str]]:
        """Everything that both remember."""
        return {
            (name, table, row)
            for name, url in self.urls.items()
            for table, rows in (await rows_in(url)).items()
            for row in rows
        }


async def test_what_is_heard_again_changes_nothing(
    kafka: str, service_database: Callable[[str], str], tmp_path: Path, report: Report
) -> None:
    world = LateWorld(PREDICTIONS_OF[size()])
    place = Place(kafka, tmp_path, {name: await asyncio.to_thread(service_database, name) for name in READ})
    await publish(kafka, "registry", *world.declared, a_view())
    await place.read([*world.records(), *readings(READINGS[size()])])
    rows, said = await place.rows(), await ends(kafka, SAID)
    records = await place.set_back()
    await place.read()
    changed, more = rows ^ await place.rows(), await ends(kafka, SAID)
    print(*sorted(changed)[:6], sep="\n")
    alerts = sum(end for (topic, _), end in said.items() if topic == DRIFT.name)
    report(
        "R2", bounds={"rows_changed": 0, "events_new": 0, "alerts_missing": 0}, records=records, rows=len(rows),
        rows_changed=len(changed), alerts=alerts, alerts_missing=int(not alerts), events=sum(said.values()),
        events_new=sum(more.values()) - sum(said.values()),
    )  # fmt: skip
