"""`driftloop why MODEL`: the chain that led to what serves now, from its first cause."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

import httpx
import typer
from pydantic import ValidationError
from rich.text import Text

from driftloop.addresses import Unknown
from driftloop.cli.doors import Refusal, ask
from driftloop.cli.screen import screen
from driftloop.telling import told
from driftloop_contracts import FACTS

NAME_WIDTH: Final = 20


def why(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    as_json: Annotated[bool, typer.Option("--json", help="The events whole, one JSON list.")] = False,
) -> None:
    """Tell why the model's champion is live: every event of the chain, the first cause first."""
    # The registry answers from what is live backwards.
    chain = ask("registry", f"/loop/models/{model}/why")[::-1]
    tipped = tipped_by(chain)
    if as_json:
        print(json.dumps([tipped, *chain] if tipped else chain, indent=1))
        return
    for link in [tipped, *chain] if tipped else chain:
        screen.print(line(link))


def tipped_by(chain: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The data event that the chain began with, as a link: only the feature store keeps those. None where nothing did."""
    cause = chain[0]["cause"] if chain else None
    if cause is None:
        return None
    try:
        row = ask("feature_store", f"/history/events/{cause}")
    except (Refusal, Unknown, httpx.TransportError) as away:
        return {"id": cause, "type": "data event", "time": chain[0]["time"], "topic": f"unknown: {away}", "data": {}}
    return {
        "id": cause,
        "type": "driftloop.outcome.observed.v1",
        "time": row.get("time") or row["observed_at"],
        "topic": row["topic"],
        "data": row,
    }


def line(link: dict[str, Any]) -> Text:
    """One link on two lines: when, what, its figures; below, by which id it is found, and where."""
    made = Text()
    made.append(f"{link['time'][:10]} {link['time'][11:16]}  ", style="dim")
    made.append(f"{name_of(link):<{NAME_WIDTH}}  ", style="bold")
    made.append(words(link))
    made.append(f"\n{'':<18}{link['id']} on {link['topic']}", style="dim")
    return made


def name_of(link: dict[str, Any]) -> str:
    """The event's type without what all have in common: `drift.detected`."""
    return str(link["type"]).removeprefix("driftloop.").rpartition(".v")[0] or str(link["type"])


def words(link: dict[str, Any]) -> str:
    """What the event says, in one line. Of a type that this version does not know, its reason."""
    data = link.get("data") or {}
    if "prediction_id" in data:
        return f"{data.get('value')} came true for prediction {data['prediction_id']}"
    kind = FACTS.get(link["type"])
    try:
        return told(kind.read(json.dumps(data).encode())) if kind else str(data.get("reason", ""))
    except ValidationError:
        return str(data.get("reason", ""))
