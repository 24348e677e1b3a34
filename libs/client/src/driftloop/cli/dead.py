"""`driftloop dead`: records that a service could not handle; seen, and sent again once it can."""

from __future__ import annotations

import asyncio
import getpass
import json
from collections import Counter
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import Progress

from driftloop.cli.dead_screen import as_json, show, table_of, told
from driftloop.cli.dead_topics import DeadTopics, dead_topics
from driftloop.cli.doors import Refusal, tell
from driftloop.cli.screen import say, screen
from driftloop_bus.letters import Letter, again, is_compacted, mark, standing
from driftloop_contracts import rfc3339

app = typer.Typer(no_args_is_help=True, help="Look at dead letters, and redrive them.")
# Their bytes are in memory together; whoever interrupts leaves at most so many sent and not yet marked.
SENT_TOGETHER: Final = 100
SAID: Final = {
    "waiting": "redriven",
    "redriven": "already redriven (--again sends them once more; what had its effect has no second one)",
    "superseded": "superseded: a newer state of the same key is on their compacted topic",
    "null": "without a value: there is nothing to redrive",
    "gone": "parked by reference, and the log does not hold them any more",
}

Topic = Annotated[str | None, typer.Option(help="Only of this topic, such as outcomes.v1.")]
Group = Annotated[str | None, typer.Option(help="Only parked by this service.")]
Which = Annotated[list[str], typer.Argument(help="PARTITION:OFFSET as `ls` shows it, or the event's id.")]


@app.command("ls")
def listed(
    topic: Topic = None,
    group: Group = None,
    as_lines: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List dead letters: what was parked, by whom, and why."""
    letters = _run(_letters(topic, group))
    if as_lines:
        for letter in letters:
            print(json.dumps(as_json(letter)))
    elif letters:
        screen.print(table_of(letters))
    else:
        say("no dead letters")


@app.command("show")
def shown(which: Which, topic: Topic = None, group: Group = None) -> None:
    """Show letters whole: where they came from, the reason with its stack, headers and the original bytes."""
    for place, letter in enumerate(_run(_whole(topic, group, which))):
        if place:
            say("")
        show(letter)


@app.command()
def redrive(
    topic: Topic = None,
    group: Group = None,
    offset: Annotated[list[str] | None, typer.Option(help="This letter, as for `show`; may be given again.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every letter of the topic and group.")] = False,
    repeat: Annotated[bool, typer.Option("--again", help="Also those that were redriven before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")] = False,
) -> None:
    """Send the original records to their own topics again, marked. What had its effect before has no second one."""
    if bool(offset) == every:
        raise Refusal("say which letters: --offset PARTITION:OFFSET (as `driftloop dead ls` shows it), or --all")
    told(_run(_redriven(topic, group, offset or [], repeat=repeat, dry=dry_run)), dry=dry_run)


@app.command()
def resume(
    service: Annotated[str, typer.Argument(help="The service that paused it.")],
    topic: Annotated[str, typer.Argument(help="Name of the topic.")],
    partition: Annotated[int, typer.Argument(help="Number of the partition.")],
) -> None:
    """Let a partition go on that a service has paused because too much of it was parked."""
    answer = tell(service, f"/partitions/{topic}/{partition}/resume")
    say(f"{topic}/{partition} goes on; it was paused because: {answer['was_paused_because']}")


async def _letters(topic: str | None, group: str | None) -> list[Letter]:
    async with dead_topics(topic, group) as dead:
        return await dead.letters()


async def _whole(topic: str | None, group: str | None, words: Sequence[str]) -> list[Letter]:
    async with dead_topics(topic, group) as dead:
        chosen = meant(await dead.letters(), words)
        found = {letter.place: letter async for letter in dead.whole(chosen)}
        return [found.get(letter.place, letter) for letter in chosen]


def meant(letters: Sequence[Letter], words: Sequence[str]) -> list[Letter]:
    """The letters that the words mean, in the order of the words. Raises Refusal for one that means none, or many topics'."""
    chosen: dict[str, Letter] = {}
    for word in words:
        found = [letter for letter in letters if letter.answers_to(word)]
        if not found:
            raise Refusal(f"no letter {word}: see `driftloop dead ls`")
        if len({letter.place.topic for letter in found}) > 1:
            names = ", ".join(letter.name for letter in found)
            raise Refusal(f"{word} means several letters: {names}; say --topic and --group, or the whole name")
        chosen |= {letter.name: letter for letter in found}
    return list(chosen.values())


async def _redriven(
    topic: str | None, group: str | None, words: Sequence[str], *, repeat: bool, dry: bool
) -> dict[str, int]:
    """How many letters ended how, in words."""
    async with dead_topics(topic, group) as dead:
        letters = await dead.letters()
        chosen = meant(letters, words) if words else letters
        newest = await dead.newest(letter.original.topic for letter in chosen if is_compacted(letter))
        ends = Counter[str]()
        waiting: list[Letter] = []
        for letter in chosen:
            stands = standing(letter, newest, again=repeat)
            waiting += [letter] if stands == "waiting" else []
            ends[stands] += stands != "waiting"
        ends["waiting"] = len(waiting)
        if not dry:
            ends += await _sent(dead, waiting) if waiting else Counter()
        return {said: ends[stands] for stands, said in SAID.items()}


async def _sent(dead: DeadTopics, waiting: Sequence[Letter]) -> Counter[str]:
    """They are acked by their topics, then marked on theirs. Returns what could not be sent, taken from those waiting."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("redriving", total=len(waiting))
        gone, together = 0, list[Letter]()
        async for letter in dead.whole(waiting):
            if letter.original.value is None:
                gone += 1
                continue
            together.append(letter)
            if len(together) >= SENT_TOGETHER:
                await _send(dead, together)
                together = []
            progress.advance(task)
        await _send(dead, together)
    return Counter({"gone": gone, "waiting": -gone})


async def _send(dead: DeadTopics, letters: Sequence[Letter]) -> None:
    if letters:
        await dead.send([again(letter) for letter in letters])
        # Not before the ack: a letter that is marked and was not sent would be forgotten.
        now, by = rfc3339(datetime.now(UTC)), getpass.getuser()
        await dead.send([mark(letter, now, by) for letter in letters])


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)
