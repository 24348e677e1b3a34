"""How much a service takes on at once. What is beyond is refused at once: then what was begun ends soon, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from starlette.exceptions import HTTPException

from driftloop_kit.http.errors import RETRY_AFTER_S

# Waited for together, they take less time than callers are ready to wait; and what came while a busy machine left us out
# for a second is not refused.
MAX_WORKING: Final = 256
# Where each of them needs a connection: more would wait for one until they gave up, and so take the place of others in vain.
MAX_WORKING_WITH_DATABASE: Final = 64
# Answered at once however much is asked: who watches must see most when there is too much.
WATCHED_PATHS: Final = frozenset(("/live", "/ready", "/metrics"))
# Requests whose body is not whole yet. They cost memory alone, so more of them fit, but not for as long as they like.
MAX_ARRIVING: Final = 256
MAX_HELD_BYTES: Final = 32 * 1024**2
# Bodies that may be longer than this are read in pieces, and not held.
MAX_HELD_EACH: Final = 8 * 1024**2
FULL: Final = "too much is asked at once"
EXPECTED: Final = "driftloop.expected"
"""Stands in the scope of a request that `Room.expect` let in."""


class Guest(Protocol):
    """A request whose body is not whole."""

    held_bytes: int

    def give_up(self) -> None:
        """It is refused, as soon as it waits."""


class Full(HTTPException):
    """503: another time."""

    def __init__(self) -> None:
        super().__init__(503, FULL, {"retry-after": str(RETRY_AFTER_S)})


class Room:
    """Counts requests and their bytes.

    Who only arrives takes no place from those who work: whoever drips is one of the arriving, and the one that has been
    arriving longest makes place for the next.
    """

    def __init__(self, refused: Callable[[], None], *, has_database: bool) -> None:
        """refused: hears of each request that was refused before it came in."""
        self.refused = refused
        self._most = MAX_WORKING_WITH_DATABASE if has_database else MAX_WORKING
        self._expected = 0
        self._working = 0
        self._held_bytes = 0
        self._arriving: dict[Guest, None] = {}

    def expect(self) -> bool:
        """Whether one more may come in, now that its headers are here; then `came` follows. Cheap, for a crowd to be refused."""
        free = self._working + self._expected < self._most
        self._expected += free
        return free

    def came(self) -> None:
        """One that was expected came in."""
        self._expected -= 1

    def look(self) -> None:
        """Raises Full when nobody can be worked for now."""
        if self._working >= self._most:
            raise Full

    def work(self) -> None:
        """One more is worked for, until `rest`. Raises Full."""
        self.look()
        self._working += 1

    def rest(self) -> None:
        """One is worked for no longer."""
        self._working -= 1

    def arrive(self, guest: Guest) -> None:
        """Its body is awaited; the one that is awaited longest may have to go for it."""
        self._arriving[guest] = None
        if len(self._arriving) > MAX_ARRIVING:
            self._send_away(next(iter(self._arriving)))

    def arrived(self, guest: Guest) -> None:
        """Its body is whole, or not awaited any more."""
        self._arriving.pop(guest, None)

    def hold(self, guest: Guest, size_bytes: int) -> None:
        """So many more of its bytes are in memory, until `forget`: too many, and whoever of the arriving has most must go.

        Raises Full when that is this one.
        """
        guest.held_bytes += size_bytes
        self._held_bytes += size_bytes
        if self._held_bytes > MAX_HELD_BYTES:
            most = max(self._arriving, key=lambda one: one.held_bytes)
            self._send_away(most)
            if most is guest:
                raise Full

    def forget(self, guest: Guest) -> None:
        """Its bytes are gone."""
        self._held_bytes -= guest.held_bytes
        guest.held_bytes = 0

    def _send_away(self, guest: Guest) -> None:
        self.arrived(guest)
        guest.give_up()
