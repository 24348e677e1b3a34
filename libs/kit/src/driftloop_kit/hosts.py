"""Where a database may be: its primary moves between hosts, and a host that is gone does not even refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from driftloop_kit.passing import is_passing

if TYPE_CHECKING:
    RawConnection = asyncpg.Connection[asyncpg.Record]

# Shared by all hosts, so that the last is asked also when those before it are silent.
CONNECT_S: Final = 1.8


class Hosts:
    """Looks for the host that may write, first where it was the last time."""

    def __init__(self, url: str) -> None:
        self._urls = each_host(url)

    async def connect(self, *_: Any, **settings: Any) -> RawConnection:
        """As `asyncpg.connect`, which would give the first host all of the time. Raises what the last host said."""
        *others, last = self._urls
        for url in others:
            try:
                return await self._asked(url, settings)
            except (asyncpg.PostgresError, asyncpg.InternalClientError, OSError) as error:
                if not is_passing(error):
                    raise
        return await self._asked(last, settings)

    async def _asked(self, url: str, settings: dict[str, Any]) -> RawConnection:
        within_s = CONNECT_S / len(self._urls)
        found: RawConnection = await asyncpg.connect(
            url, timeout=within_s, target_session_attrs=SessionAttribute.read_write, **settings
        )
        self._urls = sorted(self._urls, key=lambda one: one != url)
        return found


def each_host(url: str) -> list[str]:
    """`postgresql://user:password@one:1,two:2/name` as an address for each host, in this order."""
    parts = urlsplit(url)
    user, at, places = parts.netloc.rpartition("@")
    return [urlunsplit(parts._replace(netloc=f"{user}{at}{place}")) for place in places.split(",")]


def only_reads(connection: Any) -> bool:
    """Whether its server has said so with an answer: it was made, or is again, a standby."""
    if connection.is_closed():
        return False
    said = connection.get_settings()
    return "on" in (getattr(said, "in_hot_standby", "off"), getattr(said, "default_transaction_read_only", "off"))
