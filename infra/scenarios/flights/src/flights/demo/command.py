"""`driftloop demo`: half a year of flights is its memory, a month is replayed, the world moves, a better model serves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import aiohttp
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from driftloop.addresses import address_of
from driftloop.cli import model as declarations
from driftloop.cli.doors import Refusal, ask, command
from driftloop.cli.why import why
from driftloop.producer import AsyncProducer
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.tail import Tail
from driftloop_contracts.topics import OBSERVATIONS, OUTCOMES, PREDICTIONS
from flights import story, world
from flights.demo import records
from flights.demo.chronicle import TOPICS, Chronicle
from flights.demo.kills import Killer
from flights.demo.parts import Parts, Stuck
from flights.demo.replayer import Replayer
from flights.demo.stage import NotUp, stage
from flights.demo.verdict import Check, Expected, checks, killed, losses, seen
from flights.faults import FAULTS, faulty

DOCUMENTS: Final = Path(story.__file__).parent / "declarations"
EXPECTED: Final = Expected(
    predictions=26_309, outcomes=25_056, alarm=(datetime(2013, 6, 18, tzinfo=UTC), datetime(2013, 6, 20, tzinfo=UTC)),
    looks=1, gain=0.20, lower=0.05, stale=True, quiet=True,
)  # fmt: skip
EXPECTED_HARD: Final = Expected(
    predictions=39_788, outcomes=38_066, alarm=(datetime(2013, 6, 26, tzinfo=UTC), datetime(2013, 6, 29, tzinfo=UTC)),
    looks=2, gain=0.06, lower=0.0, stale=False, quiet=False,
)  # fmt: skip
screen = Console(highlight=False)


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything up, with a served model.")] = False,
    hard: Annotated[
        bool, typer.Option("--hard", help="Boosted trees: the gate holds the candidate at its first look.")
    ] = False,
    fault: Annotated[str | None, typer.Option(help=f"Inject a fault from 1 Oct: {', '.join(FAULTS)}.")] = None,
    free_running: Annotated[
        bool, typer.Option("--free-running", help="No barriers: send as fast as serving answers.")
    ] = False,
    kills: Annotated[int, typer.Option(min=0, help="Kill so many parts at random while the month is replayed.")] = 0,
    seed: Annotated[int, typer.Option(help="Decides what is killed, and when.")] = 1,
) -> None:
    """Replay real flights through the whole circle and tell the story. Fails if the loop does not close."""
    if fault is not None and fault not in FAULTS:
        raise Refusal(f"no fault {fault!r}; there are {', '.join(FAULTS)}")
    try:
        with stage(keep=keep):
            found = asyncio.run(played(hard=hard, fault=fault, free_running=free_running, killer=Killer(kills, seed)))
            if fault is None:
                screen.rule("why is it live?")
                why(records.MODEL)
                found.append(resolved(records.MODEL))
    except (NotUp, Stuck) as stopped:
        raise Refusal(str(stopped)) from stopped
    say(found)
    if keep:
        screen.print(f"everything stays up; the console is at {address_of('console')}")
        screen.print("`export DRIFTLOOP_HOME=.driftloop/demo`, then `driftloop status`, `driftloop down`")
    if not all(check.so for check in found):
        raise typer.Exit(1)


def resolved(model: str) -> Check:
    """Every link of the chain is found by its id, and its first cause is a row of the history."""
    chain = ask("registry", f"/loop/models/{model}/why")
    lost = [link["id"] for link in chain if ask("registry", f"/loop/events/{link['id']}")["id"] != link["id"]]
    first = ask("feature_store", f"/history/events/{chain[-1]['cause']}")
    asked = ask("feature_store", f"/history/predictions/{quote(first['prediction_id'])}")
    told = f"{len(chain)} links, from outcome {first['event_id']} of prediction {first['prediction_id']}"
    return Check("every link of the chain is found by its id", told, not lost and bool(asked["predictions"]))


async def played(*, hard: bool, fault: str | None, free_running: bool, killer: Killer) -> list[Check]:
    """The replay, from an empty stack; what was to be so, and whether it is."""
    began = time.monotonic()
    chronicle = Chronicle(records.MODEL, tell=screen.print)
    log = KafkaLog(address_of("kafka"), client_id="demo")
    tail: Tail[Chronicle] = Tail(log, TOPICS, chronicle.routes(), chronicle)
    hearing = asyncio.create_task(tail.run())
    try:
        async with aiohttp.ClientSession() as session, AsyncProducer("flights") as producer:
            replayer = Replayer(session, producer, Parts(session, log), chronicle, tail, free_running=free_running)
            return await Play(replayer, Parts(session, log), producer, chronicle, killer).run(hard, fault)
    finally:
        tail.stop()
        await hearing
        await log.close()
        screen.print(f"[dim]{time.monotonic() - began:.0f} s[/]")


class Play:
    """The acts of the demo, in order."""

    def __init__(
        self, replayer: Replayer, parts: Parts, producer: AsyncProducer, chronicle: Chronicle, killer: Killer
    ) -> None:
        self.replayer = replayer
        self.parts = parts
        self.producer = producer
        self.chronicle = chronicle
        self.killer = killer

    async def run(self, hard: bool, fault: str | None) -> list[Check]:
        """All acts. Raises Stuck when the circle does not turn."""
        screen.rule("declare")
        name = "flight-delay-hard.yaml" if hard or fault else "flight-delay.yaml"
        await asyncio.to_thread(declarations.apply, [DOCUMENTS / file for file in ("weather.yaml", "plane.yaml", name)])
        screen.rule("half a year of memory")
        loaded = await asyncio.to_thread(world.load)
        since = story.FAULT_FROM if fault else story.REPLAY_FROM
        await self.remember(loaded.history(since))
        screen.rule("the first champion")
        await self.first(story.FAULT_CHAMPION_UNTIL if fault else story.CHAMPION_UNTIL, since)
        screen.rule("the month")
        until = story.FAULT_UNTIL if fault else story.HARD_REPLAY_UNTIL if hard else story.REPLAY_UNTIL
        await self.month(faulty(loaded, fault, since) if fault else loaded, since, until)
        if fault:
            return [*killed(self.killer), *seen(self.chronicle, fault, since)]
        screen.print(losses(self.chronicle, since, until))
        held_to = EXPECTED_HARD if hard else EXPECTED
        return [*killed(self.killer), *checks(self.chronicle, self.replayer.counts, held_to, until)]

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

    async def first(self, until: datetime, effective: datetime) -> None:
        """A model that was trained on what had arrived by then serves."""
        body = {
            "command": "retrain", "model": records.MODEL, "given_by": "demo", "until": until.isoformat(),
            "effective": effective.isoformat(), "reason": "the first champion",
        }  # fmt: skip
        await asyncio.to_thread(command, body)
        await self.replayer.settle()
        if self.chronicle.deployment() is None:
            raise Stuck("the first training brought no deployment: see the lines above")

    async def month(self, loaded: world.World, since: datetime, until: datetime) -> None:
        """The replay, hour by hour."""
        slices = list(loaded.replay(since, until))
        total = sum(len(piece.predictions) for piece in slices)
        with progress("predictions") as bar:
            task = bar.add_task(f"{since:%d %b %H:%M}", total=total)

            def moved(piece: Any) -> None:
                bar.update(task, advance=len(piece.predictions), description=f"{piece.start:%d %b %H:%M}")

            async with self.killer.at_work(screen.print):
                await self.replayer.run(watched(iter(slices), self.killer, len(slices)), moved)


def watched(slices: Iterator[Any], killer: Killer, total: int) -> Iterator[Any]:
    """The slices; tells the killer how far the month is."""
    for place, piece in enumerate(slices):
        killer.reached(place / total)
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


def say(found: list[Check]) -> None:
    """Every check in a line."""
    screen.rule("held to")
    for check in found:
        screen.print(f"{'[green]✓[/]' if check.so else '[red]✗[/]'} {check.what}: {check.found}")
