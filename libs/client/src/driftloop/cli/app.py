"""The `driftloop` command: its own parts and those of installed packages, found by entry point."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points

import httpx
import typer

from driftloop.addresses import Unknown
from driftloop.cli.doors import Refusal

ENTRY_POINTS = "driftloop.commands"


def build() -> typer.Typer:
    """The command with everything that is installed."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, help="Close the loop: drift, retrain, judge, swap.")
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        command = point.load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=point.name)
        else:
            app.command(point.name)(command)
    return app


def main() -> None:
    """Runs it. A refusal is one line on standard error, and exit code 1."""
    try:
        build()()
    except (Unknown, Refusal) as refusal:
        sys.exit(f"driftloop: {refusal}")
    except httpx.HTTPError as away:
        sys.exit(f"driftloop: {away.request.url} does not answer ({away}): see `driftloop status`")
