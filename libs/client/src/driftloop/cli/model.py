"""`driftloop model`: declarations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from driftloop.cli.commands import Model, Reason, given
from driftloop.cli.documents import sound
from driftloop.cli.doors import ask, command
from driftloop.cli.screen import say, screen

app = typer.Typer(no_args_is_help=True, help="Declare models and views, and look at them.")
Files = Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="YAML documents.")]
NOTHING = "–"


@app.command()
def check(files: Files) -> None:
    """Say whether documents are sound, without applying them. Exit 1, with line and reason, when one is not."""
    for document in sound(files):
        say(f"{document.file}: {document.name} is sound")


@app.command()
def apply(files: Files) -> None:
    """Declare models and views: what each document says holds from now on. None is applied when one is not sound."""
    for document in sound(files):
        command(given("apply", document.name, document=document.content))
        say(f"{document.name}: applied")


@app.command()
def retire(model: Model, reason: Reason = "") -> None:
    """Let a model no longer be served, watched or trained."""
    command(given("retire", model, reason=reason))
    say(f"{model} is retired")


@app.command("list")
def models() -> None:
    """Show every model: what serves, and since when."""
    table = Table("model", "champion", "since", "challenger", "next look", "frozen", box=None, pad_edge=False)
    for model in ask("registry", "/loop/models")["models"]:
        table.add_row(*_row(model))
    screen.print(table)


def _row(model: dict[str, Any]) -> tuple[str, ...]:
    champion, challenger = model.get("champion") or {}, model.get("challenger") or {}
    looks = challenger.get("looks") or []
    return (
        str(model["model"]),
        champion.get("version", NOTHING),
        champion.get("since", NOTHING),
        challenger.get("version", NOTHING),
        looks[0] if looks else NOTHING,
        "yes" if model.get("frozen") else "no",
    )
