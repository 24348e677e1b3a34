"""The `driftloop` command: its own parts and those of installed packages, found by entry point."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Final

import httpx
import stamina
import typer

from driftloop.addresses import Unknown
from driftloop.cli.doors import Refusal

ENTRY_POINTS: Final = "driftloop.commands"


def build(words: Sequence[str]) -> typer.Typer:
    """The command with the part that the words ask for, or with everything that is installed."""
    app = typer.Typer(no_args_is_help=True, add_completion=False)
    # With a callback it stays a group, however few commands it has.
    app.callback()(close_the_loop)
    found = entry_points(group=ENTRY_POINTS)
    # Some parts import much; who asks for another need not wait for them.
    asked = [point for point in found if words[:1] == [point.name]]
    for point in sorted(asked or found, key=lambda point: point.name):
        command = point.load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=point.name)
        else:
            app.command(point.name)(command)
    return app


def close_the_loop() -> None:
    """Close the loop: drift, retrain, judge, swap."""


def main() -> None:
    """Runs it. Exit 0; 1 for a refusal, said on standard error; 2 for a command that can't be understood."""
    # Retries say what they wait for at the end, if it did not come.
    stamina.instrumentation.set_on_retry_hooks([])
    try:
        build(sys.argv[1:])()
    except (Unknown, Refusal) as refusal:
        sys.exit(f"driftloop: {refusal}")
    except httpx.TransportError as away:
        sys.exit(f"driftloop: {away.request.url} does not answer ({away}): see `driftloop status`")
    except BrokenPipeError:
        # Whoever read has enough: `driftloop watch | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
