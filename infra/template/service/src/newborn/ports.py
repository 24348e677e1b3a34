"""What the handlers need from outside."""

from __future__ import annotations

from typing import Protocol

from newborn.domain import Standing


class Standings(Protocol):
    """One standing a model. Seen by others once the transaction commits, never before."""

    async def get(self, model: str) -> Standing | None:
        """The model's, or None. Nobody else changes it until the transaction ends."""

    async def put(self, standing: Standing) -> None:
        """It replaces the model's."""

    async def all(self) -> list[Standing]:
        """Every model's, in order of name."""
