"""Fragments of the page, rendered here and swapped in there; and the curves as columns for the chart."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from console.board import Board, Model

WEB: Final = Path(__file__).parent / "web"
FRAGMENTS: Final = ("models", "story", "tail")
SHOWN_SIGNALS: Final = ("loss:log_loss", "loss:brier")
FLOOR: Final = "loss:last_24h_rate"


def environment() -> Environment:
    """Templates that escape everything: names and reasons come from outside."""
    made = Environment(loader=FileSystemLoader(WEB / "templates"), autoescape=True, undefined=StrictUndefined)
    made.filters["minute"] = lambda moment: moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    made.filters["title_words"] = _spaced
    return made


def fragment(templates: Environment, name: str, board: Board) -> str:
    """One part of the page as HTML without line breaks, as server-sent events want it."""
    html = templates.get_template(f"{name}.html").render(board=board, models=sorted_models(board))
    return " ".join(html.split())


def sorted_models(board: Board) -> list[Model]:
    """Models that were declared or deployed, by name."""
    return sorted((one for one in board.models.values() if one.owner or one.deployment), key=lambda one: one.name)


def chart(model: Model) -> dict[str, Any]:
    """The gate's loss of every version by window, the floor beside it, on one axis of times; and the markers."""
    signal = next((one for one in SHOWN_SIGNALS if any(name == one for _, name in model.curves)), SHOWN_SIGNALS[0])
    shown = {f"version {v}": dict(points) for (v, name), points in model.curves.items() if name == signal}
    floors = [dict(points) for (_, name), points in model.curves.items() if name == FLOOR]
    if floors:
        shown["last 24 h rate"] = {at: value for points in floors for at, value in points.items()}
    times = sorted({at for points in shown.values() for at in points})
    return {
        "model": model.name,
        "signal": signal.removeprefix("loss:").replace("_", " "),
        "times": times,
        "series": [
            {"label": name, "values": [points.get(at) for at in times]} for name, points in sorted(shown.items())
        ],
        "markers": [{"at": at, "label": label} for at, label in model.markers],
    }


def _spaced(name: str) -> str:
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
