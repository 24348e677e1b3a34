"""What people ask of a model: each is a command on the log, answered by the service that decides."""

from __future__ import annotations

import getpass
from typing import Annotated, Any

import typer

from driftloop.cli.doors import command
from driftloop.cli.screen import say

Model = Annotated[str, typer.Argument(help="Name of the model.")]
Reason = Annotated[str, typer.Option(help="Why, for whoever reads the audit.")]


def given(kind: str, model: str, **more: Any) -> dict[str, Any]:
    """A command's body, without what was not said."""
    body = {"command": kind, "model": model, "given_by": getpass.getuser(), **more}
    return {name: value for name, value in body.items() if value is not None}


def retrain(
    model: Model,
    until: Annotated[
        str | None, typer.Option(help="Train on what had arrived by then (RFC 3339); now if not given.")
    ] = None,
    effective: Annotated[
        str | None, typer.Option(help="Event time of the request (RFC 3339); now if not given.")
    ] = None,
    reason: Reason = "",
) -> None:
    """Ask for a training, whatever the monitor thinks."""
    answer = command(given("retrain", model, until=until, effective=effective, reason=reason))
    say(f"asked for a training of {model}: request {answer['event_id']}")


def freeze(model: Model, reason: Reason = "") -> None:
    """Let nothing change what serves."""
    command(given("freeze", model, reason=reason))
    say(f"{model} is frozen: alerts go on, nothing is retrained or promoted")


def unfreeze(model: Model, reason: Reason = "") -> None:
    """Undo `freeze`."""
    command(given("unfreeze", model, reason=reason))
    say(f"{model} may change again")


def rollback(
    model: Model,
    version: Annotated[
        str | None, typer.Option(help="The version to go back to; the previous one if not given.")
    ] = None,
    reason: Reason = "",
) -> None:
    """Let the previous version serve again."""
    answer = command(given("rollback", model, version=version, reason=reason))
    say(f"{model} went back: event {answer['event_id']}")


def approve(
    model: Model, version: Annotated[str, typer.Option(help="Number of the version.")], reason: Reason = ""
) -> None:
    """Approve a version that waits for a person."""
    command(given("approve", model, version=version, reason=reason))
    say(f"approved {model} version {version}")
