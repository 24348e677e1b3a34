"""The decisions, pure: no await, clock, randomness, environment or wire types."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """What serves a model."""

    model: str
    revision: int
    champion: str | None
    """The version; None while nothing serves."""


def newer(known: Standing | None, heard: Standing) -> Standing | None:
    """What stands from now on, or None when the heard one is not newer."""
    if known is not None and heard.revision <= known.revision:
        return None
    return heard
