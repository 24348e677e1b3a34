"""The one layer in front of every route: who may call, from where, with how much. It decides on the path that is routed."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException

from driftloop_kit.http.errors import KNOWN, say_error
from driftloop_kit.http.exchange import Exchange
from driftloop_kit.http.room import EXPECTED, WATCHED_PATHS, Full, Room
from driftloop_kit.telemetry import Telemetry

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

BODY_LIMIT: Final = 1024 * 1024
OPEN_PATHS: Final = frozenset(("/live", "/ready"))
MAX_HOSTS_KEPT: Final = 1000


@dataclass(frozen=True, slots=True)
class Rules:
    """What the guard lets through."""

    names: frozenset[str] = frozenset()
    """Host names besides localhost and IP addresses. A page that lured a browser here comes under another name."""
    key_sha256: bytes | None = None
    """None: no key is asked for."""
    body_limits: Mapping[str, int] = field(default_factory=dict)
    """Bytes, by path prefix, where not 1 MiB."""

    has_database: bool = False
    """Whether requests wait for connections to one."""

    def body_limit(self, path: str) -> int:
        """Bytes that a body to this path may have; the longest prefix decides."""
        if not self.body_limits:
            return BODY_LIMIT
        fitting = [prefix for prefix in self.body_limits if path.startswith(prefix)]
        return self.body_limits[max(fitting, key=len)] if fitting else BODY_LIMIT


class Guard:
    """Wraps the whole app; nothing is reachable beside it."""

    def __init__(self, app: ASGIApp, rules: Rules, telemetry: Telemetry) -> None:
        self._app = app
        self._rules = rules
        self._telemetry = telemetry
        self.room = Room(partial(self._count, 503), has_database=rules.has_database)
        self._took = telemetry.timer("driftloop_http_seconds")
        self._counts: dict[int, Callable[[], None]] = {}
        self._hosts: dict[bytes, bool] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on what may pass; answers the rest."""
        if scope["type"] != "http":
            raise RuntimeError(f"only HTTP is spoken here, got {scope['type']}")
        if scope.pop(EXPECTED, False):
            self.room.came()
        began, exchange = perf_counter(), Exchange(receive, send, self.room)
        try:
            self._admit(scope, exchange)
            await self._app(scope, exchange.receive if exchange.left is not None else receive, exchange.send)
        except asyncio.CancelledError:
            if not exchange.was_given_up():
                raise
            await say_error(exchange.send, Full())
        except Exception as error:  # the runner of doors: a bug is told, answered 500, and the door goes on
            if not isinstance(error, KNOWN):
                self._telemetry.log.error("bug", path=scope["path"], exc_info=error)
            if not exchange.status:
                await say_error(exchange.send, error)
            elif not exchange.whole:
                # Half an answer must not look like a whole one: the server breaks the connection.
                raise
        finally:
            exchange.end()
            self._took(perf_counter() - began)
            self._count(exchange.status)

    def _admit(self, scope: Scope, exchange: Exchange) -> None:
        headers = dict(scope["headers"])
        if len(headers) != len(scope["headers"]):
            _refuse_ambiguous(scope["headers"])
        host, path = headers.get(b"host", b""), scope["path"]
        if not (self._hosts.get(host) or self._knows(host)):
            raise HTTPException(421, "this service is not known under that Host")
        if (origin := headers.get(b"origin")) is not None and origin.partition(b"://")[2] != host:
            raise HTTPException(403, "pages of another origin may not call this service")
        key = self._rules.key_sha256
        if key and path not in OPEN_PATHS and not hmac.compare_digest(key, _digest(headers.get(b"authorization", b""))):
            # Only so a browser asks its person; Chromium reads no challenge that stands beside another.
            challenge = {"www-authenticate": 'Basic realm="driftloop"'}
            raise HTTPException(401, "a key is needed: Authorization: Bearer <key>", challenge)
        length = headers.get(b"content-length")
        if length is not None or b"transfer-encoding" in headers:
            limit = self._rules.body_limit(path)
            if int(length or 0) > limit:
                raise HTTPException(413, "the body is too large")
            exchange.arrive(limit)
        elif path not in WATCHED_PATHS:
            exchange.work()

    def _knows(self, host: bytes) -> bool:
        if len(self._hosts) >= MAX_HOSTS_KEPT:
            self._hosts.clear()
        known = self._hosts[host] = is_own_name(host.decode("latin-1"), self._rules.names)
        return known

    def _count(self, status: int) -> None:
        count = self._counts.get(status)
        if count is None:
            count = self._counts[status] = self._telemetry.counter("driftloop_http_requests", str(status))
        count()


def _refuse_ambiguous(headers: Sequence[tuple[bytes, bytes]]) -> None:
    names = [name for name, _ in headers]
    for name in (b"host", b"origin", b"authorization", b"content-length"):
        if names.count(name) > 1:
            raise HTTPException(400, f"{name.decode()} is given twice")


def is_own_name(host: str, names: frozenset[str]) -> bool:
    """Whether a `Host` header is one of ours: localhost, an IP address, or a name from the settings."""
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    name = name.lower()
    return name == "localhost" or name in names or _is_address(name.strip("[]"))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _digest(authorization: bytes) -> bytes:
    """SHA-256 of the key in a Bearer or Basic header (there the password)."""
    scheme, _, given = authorization.partition(b" ")
    if scheme.lower() == b"basic":
        given = _decoded(given).partition(b":")[2]
    return hashlib.sha256(given.strip()).digest()


def _decoded(given: bytes) -> bytes:
    try:
        return base64.b64decode(given, validate=True)
    except binascii.Error:
        return b""


def key_digest(key: Any) -> bytes:
    """What `Rules.key_sha256` compares with."""
    return hashlib.sha256(str(key).encode()).digest()
