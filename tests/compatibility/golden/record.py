"""`python -m tests.compatibility.golden.record RELEASE`: a short life of the circle, kept for ever.

Starts a whole stack in a folder of its own, walks the journeys' small model round the circle once, and writes what was said on
every topic, what each service's database holds, and the reference data that the monitor read. Refuses to keep a recording that
this very code can't replay.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from tests.compatibility.golden import dump
from tests.compatibility.golden.check import checked
from tests.compatibility.golden.state import state_of

from driftloop_artifacts import ArtifactStore
from driftloop_bus.codec import decode
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.ports import Record
from driftloop_bus.testing import everything
from driftloop_contracts.control_plane import DeploymentChanged
from driftloop_contracts.topics import DEPLOYMENTS, OBSERVATIONS, TOPICS
from driftloop_kit.schema import migrate
from driftloop_local.stack import LocalStack
from flights.demo import records
from flights.stream import Slice

JOURNEYS: Final = Path(__file__).parents[2] / "journeys"
MODEL: Final = "golden"
KEEPING: Final = ("registry", "feature_store", "monitor", "retrainer")
MAX_REFERENCE_BYTES: Final = 2**20


def main() -> None:
    """The release's folder is complete, or as it was."""
    parser = argparse.ArgumentParser(prog="python -m tests.compatibility.golden.record", description=__doc__)
    parser.add_argument("release", help="the folder's name: the version that is released")
    target = dump.HERE / parser.parse_args().release
    home = Path(tempfile.mkdtemp(prefix="dl-"))
    home.chmod(0o755)
    try:
        made = home / "recording"
        made.mkdir()
        with LocalStack(home / "s", code_path=str(JOURNEYS / "code")) as stack:
            asyncio.run(_recorded(stack, home / "s", made))
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(made, target)
    finally:
        shutil.rmtree(home)
    print(f"{target}: {sum(file.stat().st_size for file in target.rglob('*') if file.is_file())} bytes")


async def _recorded(stack: LocalStack, home: Path, folder: Path) -> None:
    await _lived(stack, home)
    log = KafkaLog(stack.kafka, "recorder")
    try:
        found = {topic.name: await everything(log, topic.name) for topic in TOPICS}
    finally:
        await log.close()
    for topic, kept in found.items():
        dump.write(folder, topic, kept)
    states = {name: await state_of(stack.create_service_database(name).login_url) for name in KEEPING}
    told = {name: {table: asdict(held) for table, held in state.items()} for name, state in states.items()}
    (folder / "recorded.json").write_text(json.dumps(told, indent=2, sort_keys=True) + "\n")
    await _keep_references(home, folder, found[DEPLOYMENTS.name])
    await _can_be_replayed(stack, home, folder)


async def _lived(stack: LocalStack, home: Path) -> None:
    """Declared, trained, served; the world turns over; alarm, request, training, comparison, promotion."""
    import pytest

    sys.path.insert(0, str(JOURNEYS))
    journey: Any = __import__("test_round_the_circle")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRIFTLOOP_HOME", str(home))
        async with journey.walker(stack, MODEL) as walk:
            await walk.declare()
            await walk.remember()
            await walk.first()
            for day in range(journey.QUIET_DAYS + journey.TURNED_DAYS):
                await _live_a_day(walk, 1.5 if day < journey.QUIET_DAYS else -1.5)
            journey.closed(walk)


async def _live_a_day(walk: Any, slope: float) -> None:
    """Hour by hour, each to its end: no topic is ever silent, and no row meets a deployment that is on its way.

    Both are matters of the moment, and what the moment decided can't be decided again.
    """
    day = walk.toy.day(walk.day, slope)
    await walk.producer.send_records(list(records.observations(f"{walk.model}-air", day.weather)))
    await walk.parts.until_covered("feature_store", [OBSERVATIONS.name])
    for hour in range(24):
        start = day.start + timedelta(hours=hour)
        rows = [_between(table, start, start + timedelta(hours=1)) for table in (day.predictions, day.outcomes)]
        await walk.replayer.send(Slice(start, day.weather.slice(0, 0), *rows))
        await walk.replayer.settle()
    walk.day += 1


def _between(rows: pa.Table, since: datetime, until: datetime) -> pa.Table:
    return rows.filter(pc.and_(pc.greater_equal(rows["time"], since), pc.less(rows["time"], until)))


async def _keep_references(home: Path, folder: Path, deployments: list[Record]) -> None:
    theirs = ArtifactStore.open((home / "artifacts").as_uri())
    ours = ArtifactStore.open((folder / "artifacts").as_uri())
    facts = [decode(record).data for record in deployments]
    champions = [fact.champion for fact in facts if isinstance(fact, DeploymentChanged) and fact.champion]
    for digest in {one.reference_digest for one in champions if one.reference_digest}:
        await ours.put(await theirs.get(digest, max_bytes=MAX_REFERENCE_BYTES))


async def _can_be_replayed(stack: LocalStack, home: Path, folder: Path) -> None:
    for name in KEEPING:
        database = stack.create_service_database(f"{name}_again")
        await migrate(name, database.owner_url)
        scratch = home / f"{name}-again"
        scratch.mkdir()
        found = await checked(name, folder, database.login_url, scratch)
        if found.differences:
            raise SystemExit("\n".join(["this recording can't be replayed:", *found.differences]))


if __name__ == "__main__":
    main()
