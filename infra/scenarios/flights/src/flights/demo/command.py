"""`driftloop demo`: half a year of flights is its memory, a month is replayed, the world moves, a better model serves."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote

import aiohttp
import typer

from driftloop.addresses import address_of
from driftloop.cli.doors import Refusal, ask
from driftloop.cli.why import why
from driftloop.producer import AsyncProducer
from driftloop_bus.kafka import KafkaLog
from driftloop_bus.tail import Tail
from flights.demo import records
from flights.demo.chronicle import TOPICS, Chronicle
from flights.demo.kills import Killer
from flights.demo.pace import Pace
from flights.demo.parts import Parts, Stuck
from flights.demo.play import Play, screen
from flights.demo.replayer import Replayer
from flights.demo.scene import Scene, scene
from flights.demo.stage import NotUp, stage
from flights.demo.verdict import Check
from flights.faults import FAULTS


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
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Replay up to this day of 2013 instead of the story's end."),
    ] = None,
    pace: Annotated[
        float | None,
        typer.Option(min=1, help="Send so many events a second on average, not as fast as the circle follows."),
    ] = None,
) -> None:
    """Replay real flights through the whole circle and tell the story. Fails if the loop does not close."""
    if fault is not None and fault not in FAULTS:
        raise Refusal(f"no fault {fault!r}; there are {', '.join(FAULTS)}")
    try:
        asked = scene(hard=hard, fault=fault, until=until.replace(tzinfo=UTC) if until else None)
    except ValueError as wrong:
        raise Refusal(str(wrong)) from wrong
    try:
        with stage(keep=keep):
            found = asyncio.run(played(asked, free_running=free_running, killer=Killer(kills, seed), pace=Pace(pace)))
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


async def played(asked: Scene, *, free_running: bool, killer: Killer, pace: Pace) -> list[Check]:
    """The replay, from an empty stack; what was to be so, and whether it is."""
    began = time.monotonic()
    chronicle = Chronicle(records.MODEL, tell=screen.print)
    log = KafkaLog(address_of("kafka"), client_id="demo")
    tail: Tail[Chronicle] = Tail(log, TOPICS, chronicle.routes(), chronicle)
    hearing = asyncio.create_task(tail.run())
    try:
        async with aiohttp.ClientSession() as session, AsyncProducer("flights") as producer:
            replayer = Replayer(session, producer, Parts(session, log), chronicle, tail, free_running=free_running)
            return await Play(replayer, Parts(session, log), producer, chronicle, killer, pace).run(asked)
    finally:
        tail.stop()
        await hearing
        await log.close()
        screen.print(f"[dim]{time.monotonic() - began:.0f} s[/]")


def say(found: list[Check]) -> None:
    """Every check in a line."""
    screen.rule("held to")
    for check in found:
        screen.print(f"{'[green]✓[/]' if check.so else '[red]✗[/]'} {check.what}: {check.found}")
