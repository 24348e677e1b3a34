"""Where a process may run, and what it is told of its surroundings."""

from __future__ import annotations

import os
import socket


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def bare_environment() -> dict[str, str]:
    """Ours, without what was meant for another Driftloop."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DRIFTLOOP")}
