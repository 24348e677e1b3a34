"""How many outbox rows wait, without asking the database at each glance."""

from __future__ import annotations


class Pending:
    """Never says 0 while a committed row waits; after a look that found the database quiet it is exact.

    Rows are counted before their commit, so they are never missed; a look at the database (which rows wait there?)
    replaces everything that was certainly committed when it began.
    """

    def __init__(self) -> None:
        self._added = 0
        self._settled = 0
        self._found: int | None = None
        self._covered = 0
        self._looks = 0

    def adding(self, rows: int) -> None:
        """These are about to be committed."""
        self._added += rows

    def withdrawn(self, rows: int) -> None:
        """These were rolled back."""
        self._added -= rows

    def settled(self, rows: int) -> None:
        """These are committed, or may be."""
        self._settled += rows

    def look(self) -> int:
        """A look at the database begins; give what it returns to `looked`."""
        return self._settled

    def looked(self, mark: int, rows: int, *, more: bool = False) -> None:
        """The look found so many rows waiting; more: at least one that it did not see waits too."""
        self._covered = mark
        self._found = rows + more
        self._looks += 1

    def publishing(self) -> int:
        """Rows are about to be marked as published; give what it returns to `published`."""
        return self._looks

    def published(self, mark: int, rows: int) -> None:
        """These wait no more. A look that came in between has perhaps seen it already: then the next one corrects."""
        if mark == self._looks:
            self._found = max(0, (self._found or 0) - rows)

    @property
    def value(self) -> int | None:
        """Rows waiting; None before the first look."""
        return None if self._found is None else self._found + self._added - self._covered
