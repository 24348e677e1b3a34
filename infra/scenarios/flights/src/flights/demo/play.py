"""The acts of the demo: declare, remember, train the first champion, replay what came afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from driftloop.cli import model as declarations
from driftloop.cli.doors import command
from driftloop.producer import AsyncProducer
from driftloop_contracts.topics import OBSERVATIONS, OUTCOMES, PREDICTIONS
from flights import story, world
from flights.demo import records
from flights.demo.chronicle import Chronicle
from flights.demo.kills import Killer
from flights.demo.pace import Pace
from flights.demo.parts import Parts, Stuck
from flights.demo.replayer import Replayer
from flights.demo.scene import Scene
from flights.demo.verdict import Check, checks, closed, counted, killed, losses, once, paced, seen
from flights.faults import faulty
from flights.stream import Slice

DOCUMENTS: Final = Path(story.__file__).parent / "declarations"
screen = Console(highlight=False)


class Play:
    """The acts of the demo, in order."""

    def __init__(
        self,
        replayer: Replayer,
        parts: Parts,
        producer: AsyncProducer,
        chronicle: Chronicle,
        killer: Killer,
        pace: Pace,
    ) -> None:
        self.replayer = replayer
        self.parts = parts
        self.producer = producer
        self.chronicle = chronicle
        self.killer = killer
        self.pace = pace

    async def run(self, scene: Scene) -> list[Check]:
        """All acts. Raises Stuck when the circle does not turn."""
        screen.rule("declare")
        files = ("weather.yaml", "plane.yaml", scene.document)
        await asyncio.to_thread(declarations.apply, [DOCUMENTS / file for file in files])
        screen.rule("half a year of memory")
        loaded = await asyncio.to_thread(world.load)
        await self.remember(loaded.history(scene.since))
        screen.rule("the first champion")
        await self.first(scene)
        screen.rule("the month")
        changed = faulty(loaded, scene.fault, scene.since) if scene.fault else loaded
        slices = list(changed.replay(scene.since, scene.until))
        await self.month(slices, scene)
        return self.found(slices, scene)

    def found(self, slices: list[Slice], scene: Scene) -> list[Check]:
        """What was to be so, and whether it is."""
        ran = [*killed(self.killer), *paced(self.pace)]
        if scene.fault:
            return [*ran, *seen(self.chronicle, scene.fault, scene.since)]
        screen.print(losses(self.chronicle, scene.since, scene.until))
        asked, ended = (
            sum(map(len, tables)) for tables in zip(*((s.predictions, s.outcomes) for s in slices), strict=True)
        )
        ran += [*counted(self.replayer.counts, asked, ended), *once(self.chronicle)]
        if scene.expected is None:
            return [*ran, *closed(self.chronicle)]
        return [*ran, *checks(self.chronicle, scene.expected, scene.until)]

    async def remember(self, past: Any) -> None:
        """Everything before the replay is in the history, and the monitor has passed it by."""
        packed = [
            *records.predictions(past.predictions),
            *records.outcomes(past.outcomes),
            *records.observations("weather", past.weather),
            *records.observations("plane", past.planes),
        ]
        rows = sum(len(table) for table in (past.predictions, past.outcomes, past.weather, past.planes))
        with progress("events") as bar:
            task = bar.add_task(f"{rows:,} events in {len(packed):,} records", total=len(packed))
            for start in range(0, len(packed), 64):
                await self.producer.send_records(packed[start : start + 64])
                bar.update(task, advance=len(packed[start : start + 64]))
        await self.parts.until_covered("feature_store", [PREDICTIONS.name, OUTCOMES.name, OBSERVATIONS.name], "history")
        await self.parts.until_covered("feature_store", [OBSERVATIONS.name])
        await self.parts.until_covered("monitor", [PREDICTIONS.name, OUTCOMES.name])

    async def first(self, scene: Scene) -> None:
        """A model that was trained on what had arrived by then serves."""
        body = {
            "command": "retrain", "model": records.MODEL, "given_by": "demo", "until": scene.champion_until.isoformat(),
            "effective": scene.since.isoformat(), "reason": "the first champion",
        }  # fmt: skip
        await asyncio.to_thread(command, body)
        await self.replayer.settle()
        if self.chronicle.deployment() is None:
            raise Stuck("the first training brought no deployment: see the lines above")

    async def month(self, slices: list[Slice], scene: Scene) -> None:
        """The replay, hour by hour."""
        with progress("predictions") as bar:
            total = sum(len(piece.predictions) for piece in slices)
            task = bar.add_task(f"{scene.since:%d %b %H:%M}", total=total)

            def moved(piece: Slice) -> None:
                bar.update(task, advance=len(piece.predictions), description=f"{piece.start:%d %b %H:%M}")

            async with self.killer.at_work(screen.print):
                await self.replayer.run(watched(slices, self.killer), self.pace, moved)


def watched(slices: list[Slice], killer: Killer) -> Iterator[Slice]:
    """The slices; tells the killer how far the month is."""
    for place, piece in enumerate(slices):
        killer.reached(place / len(slices))
        yield piece


@contextmanager
def progress(unit: str) -> Iterator[Progress]:
    """A bar that counts, below the commentary."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=screen) as bar:
        yield bar
