"""Candidates that must never serve, planted in the whole circle; and one that only live outcomes betray."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pytest

from driftloop.cli.doors import ask
from driftloop_bus.codec import decode
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.testing import everything
from driftloop_contracts import Fact
from driftloop_contracts.control_plane import DeploymentChanged, PromotionRefused
from driftloop_contracts.loop import CandidateTrained, RollbackAdvised, TrainingFailed
from driftloop_contracts.topics import DEPLOYMENTS, JUDGEMENTS
from driftloop_local.stack import LocalStack
from flights.stream import Slice

HERE: Final = Path(__file__).parent
JOURNEYS: Final = HERE.parent / "journeys"
PLANTED: Final = ("not_a_number", "wrong_shape", "slow_to_score", "raises", "flipped")
# A few at a time: on a busy machine all at once take longer than anybody waits for one of them.
IN_TURN: Final = (
    ("kafka", "postgres"),
    ("registry", "serving"),
    ("feature_store", "monitor"),
    ("retrainer", "console"),
)
# The guard looks seven days after a promotion.
LIVED_DAYS: Final = 9
SLOPE: Final = 1.5
LOOK_S: Final = 0.02
WITHIN_S: Final = 60.0
Figures = dict[str, Any]


@pytest.fixture(scope="module")
def circle() -> Iterator[LocalStack]:
    """Every service on a Kafka and a Postgres of their own; addresses are found through DRIFTLOOP_HOME."""
    home = Path(tempfile.mkdtemp(prefix="dl-"))
    home.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRIFTLOOP_HOME", str(home))
        code_path = f"{JOURNEYS / 'code'}:{HERE / 'code'}"
        with LocalStack(home, only=IN_TURN[0], code_path=code_path) as running:
            for some in IN_TURN[1:]:
                LocalStack(home, only=some, code_path=code_path).start()
            yield running
    shutil.rmtree(home)


@asynccontextmanager
async def planted(stack: LocalStack, model: str) -> AsyncIterator[Any]:
    """A model whose first version serves. Its candidates are promoted on their back-test alone."""
    if str(JOURNEYS) not in sys.path:
        sys.path.insert(0, str(JOURNEYS))
    from walker import walker

    async with walker(stack, model) as walk:
        await walk.declare(**terms("toy_training:train"))
        await walk.remember()
        await walk.first()
        assert champion(walk) == "1"
        yield walk


def terms(entry: str, max_latency_ms: float | None = None) -> dict[str, Any]:
    """The parts of a declaration by which everything is decided at once, and no alarm asks for a training of its own."""
    allowed = {} if max_latency_ms is None else {"max_latency_ms": max_latency_ms}
    return {
        "train": {"entry": entry, "timeout": "2m"},
        "retrain": {"fresh_outcomes": 1_000_000},
        "gate": {"must_beat_incumbent_by": -0.05} | allowed,
        "rollout": {"mode": "direct"},
    }


async def blocked(walk: Any) -> int:
    """How many of the planted candidates came to nothing: refused with a reason, and never deployed."""
    # Ten times the time of one row would serve if nobody looked.
    allowed_ms = 5 * walk.chronicle.all(CandidateTrained)[0].data.latency_ms
    stopped = 0
    for entry in PLANTED:
        deployed, before = len(walk.chronicle.all(DeploymentChanged)), refusals(walk)
        await trained(walk, f"trainings:{entry}", allowed_ms)
        stopped += refusals(walk) == before + 1 and len(walk.chronicle.all(DeploymentChanged)) == deployed
    return stopped


async def taken_back(walk: Any) -> Figures:
    """A version that is right about the past serves a world that it was taught nonsense about, until it is rolled back."""
    await trained(walk, "trainings:taught_nonsense", None)
    bad = champion(walk)
    assert bad != "1", f"it was not promoted: {walk.told}"
    back = asyncio.create_task(serves_again(walk, "1"))
    for _ in range(LIVED_DAYS):
        await walk.live(1, SLOPE, strange)
        if back.done():
            break
    done, _ = await asyncio.wait({back}, timeout=WITHIN_S)
    assert done, f"nobody has taken it back: {walk.told}, {ask('monitor', f'/models/{walk.model}')}"
    swapped_at = await back
    advised = await appended(walk.stack.kafka, JUDGEMENTS.name, RollbackAdvised, lambda fact: fact.version == bad)
    rolled = await appended(
        walk.stack.kafka, DEPLOYMENTS.name, DeploymentChanged, lambda fact: fact.reason == "rolled back"
    )
    return {
        "rolled_back_s": round(swapped_at - advised, 2), "swap_s": round(swapped_at - rolled, 2),
        "served_by_the_bad_one": walk.replayer.counts.versions.get(bad, 0),
    }  # fmt: skip


async def trained(walk: Any, entry: str, max_latency_ms: float | None) -> None:
    """A candidate was asked for, and everything that follows from it has followed."""
    await walk.declare(**terms(entry, max_latency_ms))
    from world import START

    until = (START + timedelta(days=walk.day)).isoformat()
    await walk.command("retrain", until=until, effective=until, reason=f"to see what becomes of {entry}")
    await walk.replayer.settle()


def refusals(walk: Any) -> int:
    """Of trainings, and of promotions."""
    return len(walk.chronicle.all(TrainingFailed)) + len(walk.chronicle.all(PromotionRefused))


def champion(walk: Any) -> str:
    """The version that the newest deployment names."""
    return str(walk.chronicle.deployment().champion.version)


def strange(piece: Slice) -> Slice:
    """The same day, of a group that nobody has ever seen."""
    rows = piece.predictions
    group = pa.array(["never seen"] * len(rows))
    for name in ("features.group", "segment.group"):
        rows = rows.set_column(rows.column_names.index(name), name, group)
    return Slice(piece.start, piece.weather, rows, piece.outcomes)


async def serves_again(walk: Any, version: str) -> float:
    """When serving says that this version answers, in seconds of `time.time`."""
    while True:
        said = await walk.parts.ready("serving")
        if said.get("models", {}).get(walk.model, {}).get("champion") == version:
            return time.time()
        await asyncio.sleep(LOOK_S)


async def appended(kafka: str, topic: str, kind: type[Fact], wanted: Any) -> float:
    """When the broker has appended the first such event, in seconds since the epoch."""
    log = KafkaLog(kafka, "faults")
    try:
        for record in await everything(log, topic):
            event = decode(record)
            if isinstance(event.data, kind) and wanted(event.data):
                return record.timestamp_ms / 1000
    finally:
        await log.close()
    raise AssertionError(f"no {kind.__name__} on {topic}")
