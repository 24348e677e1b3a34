"""The one layer in front of every route: who may call, from where, with how much. It decides on the path that is routed."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException

from driftloop_kit.http.errors import KNOWN, say_error
from driftloop_kit.telemetry import Telemetry

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_LIMIT: Final = 1024 * 1024
# The whole body, from its first byte: a caller that drips holds a connection no longer.
BODY_WITHIN_S: Final = 30.0
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

    def body_limit(self, path: str) -> int:
        """Bytes that a body to this path may have; the longest prefix decides."""
        fitting = [prefix for prefix in self.body_limits if path.startswith(prefix)]
        return self.body_limits[max(fitting, key=len)] if fitting else BODY_LIMIT


class Guard:
    """Wraps the whole app; nothing is reachable beside it."""

    def __init__(self, app: ASGIApp, rules: Rules, telemetry: Telemetry) -> None:
        self._app = app
        self._rules = rules
        self._telemetry = telemetry
        self._hosts: dict[bytes, bool] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on what may pass; answers the rest."""
        if scope["type"] != "http":
            raise RuntimeError(f"only HTTP is spoken here, got {scope['type']}")
        exchange = Exchange(receive, send)
        try:
            self._admit(scope, exchange)
            await self._app(scope, exchange.receive, exchange.send)
        except Exception as error:  # the runner of doors: a bug is told, answered 500, and the door goes on
            if not isinstance(error, KNOWN):
                self._telemetry.log.error("bug", path=scope["path"], exc_info=error)
            if not exchange.status:
                await say_error(exchange.send, error)
            elif not exchange.whole:
                # Half an answer must not look like a whole one: the server breaks the connection.
                raise
        finally:
            self._telemetry.count("driftloop_http_requests", 1, str(exchange.status))
            self._telemetry.time("driftloop_http_seconds", perf_counter() - exchange.began)

    def _admit(self, scope: Scope, exchange: Exchange) -> None:
        host = origin = authorization = b""
        for name, value in scope["headers"]:
            if name == b"host":
                host = value
            elif name == b"origin":
                origin = value
            elif name == b"authorization":
                authorization = value
            elif name == b"content-length" or name == b"transfer-encoding":
                exchange.expect_body(self._rules.body_limit(scope["path"]))
        if not self._knows(host):
            raise HTTPException(421, "this service is not known under that Host")
        if origin and origin.partition(b"://")[2] != host:
            raise HTTPException(403, "pages of another origin may not call this service")
        key = self._rules.key_sha256
        if key and scope["path"] not in OPEN_PATHS and not hmac.compare_digest(key, _digest(authorization)):
            raise HTTPException(401, "a key is needed: Authorization: Bearer <key>", {"www-authenticate": "Bearer"})

    def _knows(self, host: bytes) -> bool:
        known = self._hosts.get(host)
        if known is None:
            if len(self._hosts) >= MAX_HOSTS_KEPT:
                self._hosts.clear()
            known = self._hosts[host] = is_own_name(host.decode("latin-1"), self._rules.names)
        return known


class Exchange:
    """One request and its answer: counts what comes in, remembers what went out."""

    __slots__ = ("_deadline", "_left", "_receive", "_send", "began", "status", "whole")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._left = 0
        self._deadline: float | None = None
        self.began = perf_counter()
        self.status = 0
        """0 until the answer has begun."""
        self.whole = False
        """Whether all of the answer went out."""

    def expect_body(self, limit: int) -> None:
        """A body follows; it may have `limit` bytes."""
        self._left = limit
        self._deadline = asyncio.get_running_loop().time() + BODY_WITHIN_S

    async def receive(self) -> Message:
        """As the server's. Raises HTTPException 413 beyond the limit, 408 when the body takes too long."""
        if self._deadline is None:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError as error:
            raise HTTPException(408, f"the body took longer than {BODY_WITHIN_S:.0f} s") from error
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                # What still comes is thrown away unread: closing under a caller that sends would hide the answer.
                raise HTTPException(413, "the body is too large")
            if not message.get("more_body"):
                self._deadline = None
        return message

    async def send(self, message: Message) -> None:
        """As the server's."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.whole = not message.get("more_body", False)
        await self._send(message)


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
