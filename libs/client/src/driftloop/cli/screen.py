"""What people read: never wrapped, so that a pipe gets whole lines, and never taken for markup."""

from __future__ import annotations

from typing import Final

from rich.console import Console

screen: Final = Console(highlight=False, soft_wrap=True)


def say(line: str) -> None:
    """One line, as it is."""
    screen.print(line, markup=False)
