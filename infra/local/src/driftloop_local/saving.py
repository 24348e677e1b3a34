"""`driftloop backup | restore | verify-backup`."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from driftloop_local import backup as whole
from driftloop_local import saved
from driftloop_local.commands import refusals_said
from driftloop_local.home import Home
from driftloop_local.screen import console

Folder = Annotated[Path, typer.Argument(help="The folder of the backup.", file_okay=False)]


def backup(folder: Folder) -> None:
    """Copy databases, topics, artifacts and history of the running stack into a new folder, and say what it stands for."""
    with refusals_said(), shown("saved") as told:
        manifest = asyncio.run(whole.back_up(Home.here(), folder.resolve(), told))
    say(manifest)


def restore(
    folder: Folder,
    force: Annotated[bool, typer.Option("--force", help="Delete first what the stack holds.")] = False,
) -> None:
    """Fill a stack whose services are stopped from a backup; then start them: driftloop up."""
    with refusals_said(), shown("restored") as told:
        manifest = asyncio.run(whole.restore(Home.here(), folder.resolve(), told, force=force))
    say(manifest)


def verify_backup(folder: Folder) -> None:
    """Compare every file of a backup with its digest. Exit 1: something is missing or differs."""
    with refusals_said():
        manifest = saved.read(folder)
        broken = list(saved.damages(folder, manifest))
    for line in broken:
        console.print(line, markup=False)
    if broken:
        raise typer.Exit(1)
    console.print(f"{len(manifest.files)} files are as they were written")
    say(manifest)


def say(manifest: saved.Manifest) -> None:
    """The recovery point, for people."""
    records = sum(part["records"] for parts in manifest.topics.values() for part in parts.values())
    console.print(f"recovery point {manifest.begun_at}: what was acknowledged before it is in the backup")
    console.print(f"{len(manifest.databases)} databases, {records} records of {len(manifest.topics)} topics")
    for name, point in manifest.databases.items():
        console.print(f"  {name}: LSN {point['lsn']}", markup=False)


@contextmanager
def shown(verb: str) -> Iterator[Any]:
    """A line for each kind of part, which counts."""
    columns = (SpinnerColumn(), TextColumn("{task.completed:.0f} {task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, Any] = {}

        def told(kind: str, more: int) -> None:
            if kind not in tasks:
                tasks[kind] = progress.add_task(f"{kind} {verb}", total=None)
            progress.advance(tasks[kind], more)

        yield told
