"""uvicorn inside our process: our socket, our signals, our end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, cast

import uvicorn

from driftloop_kit.http.guard import Guard
from driftloop_kit.http.protocol import Protocol

BACKLOG: Final = 2048
# uvloop accepts one connection a listener and turn of the loop. Under load turns are long, and who came new waited for
# seconds, whoever looks whether we live among them: so there are several listeners at the one socket.
LISTENERS: Final = 32
# Longer than clients keep a connection idle, so that none is closed under a request.
KEEP_ALIVE_S: Final = 75


def listening_socket(host: str, port: int) -> socket.socket:
    """A bound socket; callers may connect from now on. Raises OSError, naming the address, when it can't be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise OSError(error.errno, f"can't listen on {host}:{port}: {error.strerror}") from error
    bound.listen(BACKLOG)
    return bound


def listeners(bound: socket.socket) -> list[socket.socket]:
    """The one socket, and others that are the same."""
    return [bound, *(bound.dup() for _ in range(LISTENERS - 1))]


class Server(uvicorn.Server):
    """Leaves signals to `run_service`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing is captured."""
        yield


async def serve(app: Guard, bound: socket.socket, stop: asyncio.Event, within_s: float) -> None:
    """Answers until `stop` is set, then finishes what is in flight, `within_s` at most."""
    server = Server(
        uvicorn.Config(
            app,
            # Any callable that makes one does; uvicorn's types know classes alone.
            http=cast(Any, partial(Protocol, room=app.room)),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=int(within_s),
        )
    )

    async def end() -> None:
        await stop.wait()
        server.should_exit = True

    ender = asyncio.create_task(end())
    try:
        await server.serve(sockets=listeners(bound))
    finally:
        ender.cancel()
