"""`driftloop why MODEL`: the chain that led to what serves now, from its first cause."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console

from driftloop.cli.doors import ask

PRINTED_LINK = "[dim]{time}[/]  [bold]{name:<22}[/] {words}\n{pad}[dim]{id} on {topic}[/]"


def why(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    as_json: Annotated[bool, typer.Option("--json", help="The events whole, one JSON list.")] = False,
) -> None:
    """Tell why the model's champion is live: every event of the chain, the first cause first."""
    chain = ask("registry", f"/loop/models/{model}/why")
    if as_json:
        print(json.dumps(chain, indent=1))
        return
    screen = Console(highlight=False)
    for link in chain:
        name = link["type"].removeprefix("driftloop.").rsplit(".", 1)[0]
        line = PRINTED_LINK.format(
            time=link["time"][:16], name=name, words=words(link), id=link["id"], topic=link["topic"], pad=" " * 18
        )
        screen.print(line)


def words(link: dict[str, Any]) -> str:
    """What the event says, in one line: its figures are the event's own."""
    data = link.get("data") or {}
    kind = link["type"].split(".")[1] + "." + link["type"].split(".")[2]
    match kind:
        case "drift.detected":
            effect = data["effects"][0] if data.get("effects") else None
            moved = f", {effect['name']} {effect['before']:.3f} -> {effect['after']:.3f}" if effect else ""
            return (
                f"{data['kind']} of version {data['version']}: {data['signal']['kind']} {data['signal']['name']}{moved}"
            )
        case "retrain.requested":
            return str(data["reason"])
        case "dataset.built":
            return f"{data['manifest']['rows']:,} rows, {data['digest'][:19]}"
        case "candidate.trained":
            gain = (
                f", {data['gain']:+.3f} against the incumbent on its back-test" if data.get("gain") is not None else ""
            )
            return f"{data['rows']:,} rows in {data['cpu_s']:.1f} s of CPU{gain}"
        case "challenger.judged":
            return (
                f"version {data['version']} {data['verdict']}: gain {data['gain']:+.3f}, lower bound {data['lower']:+.3f} "
                f"after {data['windows']} windows, {data['rows']:,} outcomes"
            )
        case "deployment.changed":
            champion = (data.get("champion") or {}).get("version", "none")
            return f"{data['reason']}: champion is version {champion}, revision {data['revision']}"
        case "command.given":
            return f"{data['given_by']} asked to {data['command']}"
        case _:
            return str(data.get("reason", ""))
