"""Ports are chosen free, stay the same, and lie where no outgoing connection can take them."""

import socket
from pathlib import Path

from driftloop_local.ports import choose_ports, ephemeral_start, free_port, is_free


def test_every_name_gets_a_free_port_of_its_own() -> None:
    ports = choose_ports(("kafka", "postgres", "registry"), {})
    assert len(set(ports.values())) == 3
    assert all(map(is_free, ports.values()))


def test_a_port_is_kept_while_it_is_free() -> None:
    ports = choose_ports(("kafka", "postgres"), {})
    assert choose_ports(("kafka", "postgres", "registry"), ports).items() >= ports.items()


def test_a_port_that_somebody_took_meanwhile_is_replaced_and_the_others_stay() -> None:
    before = choose_ports(("kafka", "postgres"), {})
    with socket.create_server(("127.0.0.1", before["kafka"])):
        after = choose_ports(("kafka", "postgres"), before)
    assert after["kafka"] != before["kafka"]
    assert after["postgres"] == before["postgres"]


def test_ports_lie_below_those_of_outgoing_connections() -> None:
    start = ephemeral_start()
    if start > 11_000:
        assert all(free_port(taken=()) < start for _ in range(50))


def test_the_start_of_the_ephemeral_range_is_the_kernels(tmp_path: Path) -> None:
    file = tmp_path / "ip_local_port_range"
    file.write_text("20000\t30000\n")
    assert ephemeral_start(file) == 20_000
    assert ephemeral_start(tmp_path / "absent") == 32_768
