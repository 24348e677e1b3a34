"""Fragments of the page, rendered here and swapped in there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from console.board import Board, Line, Model
from driftloop_contracts.control_plane import ServedVersion

WEB: Final = Path(__file__).parent / "web"
FRAGMENTS: Final = ("health", "models", "story", "tail")


@dataclass(frozen=True, slots=True)
class Status:
    """How a model stands, in a few words, and how loud they are: good, cold, hot or soft."""

    words: str
    tone: str


@dataclass(frozen=True, slots=True)
class Complaint:
    """What the console itself waits for, and since when: nothing newer was heard."""

    words: str
    since: datetime


class Pictures:
    """The page's parts, rendered once for everybody who looks."""

    def __init__(self, board: Board, waiting_for: Callable[[], str | None], now: Callable[[], datetime]) -> None:
        """waiting_for: called for what the console itself waits for, or None."""
        self._board, self._waiting_for, self._now = board, waiting_for, now
        self._templates = environment()
        self._of: tuple[int, Complaint | None] | None = None
        self._complaint: Complaint | None = None
        self._parts: dict[str, str] = {}

    def parts(self) -> Mapping[str, str]:
        """Name to HTML in one line, as server-sent events want it; `chart:<model>` to JSON."""
        self._listen()
        now = (self._board.revision, self._complaint)
        if now != self._of:
            self._parts, self._of = self._rendered(), now
        return self._parts

    def page(self) -> str:
        """The page as it is now; it follows by itself."""
        return self._templates.get_template("page.html").render(parts=self.parts())

    def _listen(self) -> None:
        """The complaint is what it is now; one that changes its words goes on."""
        words, before = self._waiting_for(), self._complaint
        since = before.since if before else self._now()
        self._complaint = Complaint(words, since) if words else None

    def _rendered(self) -> dict[str, str]:
        models = sorted_models(self._board)
        html = {
            name: self._templates.get_template(f"{name}.html").render(
                board=self._board, models=models, complaint=self._complaint
            )
            for name in FRAGMENTS
        }
        charts = {f"chart:{one.name}": json.dumps({"model": one.name, **one.curves.chart()}) for one in models}
        return {name: " ".join(text.split()) for name, text in html.items()} | charts


def environment() -> Environment:
    """Templates that escape everything: names and reasons come from outside."""
    made = Environment(loader=FileSystemLoader(WEB / "templates"), autoescape=True, undefined=StrictUndefined)
    made.filters |= {
        "minute": minute,
        "day": day,
        "spaced": spaced,
        "status": status,
        "held": held,
        "because": because,
        "anchor": anchor,
    }
    return made


def sorted_models(board: Board) -> list[Model]:
    """Models that were declared or deployed, by name."""
    return sorted((one for one in board.models.values() if one.shown), key=lambda one: one.name)


def status(model: Model) -> Status:
    """What matters most about the model now."""
    now = model.deployment
    if model.retired:
        return Status("retired", "soft")
    if model.training:
        return Status("training", "cold")
    if now is None or now.champion is None:
        return Status("waits for its first version", "soft")
    if now.challengers:
        return Status(f"version {now.challengers[0].version} on trial", "cold")
    if model.incidents:
        return Status("drift", "hot")
    return Status("steady", "good")


def held(model: Model, champion: ServedVersion) -> str | None:
    """The champion's loss in the last window and the one that it is held to."""
    bar = champion.loss_to_hold
    newest = model.curves.newest(champion.version, f"loss:{bar.loss}") if bar else None
    if bar is None or newest is None:
        return None
    return f"{bar.loss.replace('_', ' ')} {newest:.3f}, held to {bar.mean:.3f}"


def because(line: Line, model: Model) -> Line | None:
    """The line that it follows from, if the story tells it; steps between are passed over."""
    cause = line.cause
    while cause in model.steps:
        cause = model.steps[cause]
    return next((one for one in model.story if one.id == cause), None)


def minute(moment: datetime) -> str:
    """In UTC, to the minute."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def day(moment: datetime) -> str:
    """In UTC, with the month in letters."""
    return moment.astimezone(UTC).strftime("%-d %b %Y")


def anchor(event_id: str) -> str:
    """A name for the page: ids come from outside, and a quote in one would break every selector."""
    return f"e-{hashlib.sha256(event_id.encode()).hexdigest()[:16]}"


def spaced(name: str) -> str:
    """`DriftDetected` as `Drift detected`."""
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
    return words[:1].upper() + words[1:]
