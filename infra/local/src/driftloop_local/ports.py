"""Ports: chosen free once, kept from then on as long as they stay free."""

import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import SystemRandom
from typing import Final

LOWEST_PORT: Final = 10_000
RANGE_FILE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
# Linux' and macOS' defaults both start above this.
USUAL_EPHEMERAL_START: Final = 32_768


def ephemeral_start(range_file: Path = RANGE_FILE) -> int:
    """The first port that the system hands to outgoing connections."""
    if not range_file.exists():
        return USUAL_EPHEMERAL_START
    return int(range_file.read_text(encoding="ascii").split()[0])


def is_free(port: int) -> bool:
    """Could a server listen there on loopback now?"""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port(taken: Iterable[int]) -> int:
    """A free port below the ephemeral range where possible.

    A client that keeps dialling a dead broker's port inside that range can be given this very port as its own end,
    connects to itself, and the broker cannot come back.
    """
    highest = ephemeral_start() - 1
    if highest - LOWEST_PORT < 1_000:
        return port_of_the_system()
    for _ in range(200):
        port = SystemRandom().randint(LOWEST_PORT, highest)
        if port not in taken and is_free(port):
            return port
    return port_of_the_system()


def port_of_the_system() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def choose_ports(names: Iterable[str], before: Mapping[str, int]) -> dict[str, int]:
    """A port for each name: the one it had before if that is free, else a new one. Others' old ports stay theirs."""
    ports = dict(before)
    for name in names:
        if name not in ports or not is_free(ports[name]):
            ports[name] = free_port(taken=set(ports.values()))
    return ports
