"""One folder for everything: its secrets are private, its files never half, its logs bounded."""

import stat
from pathlib import Path

import pytest

from driftloop_local.children import MAX_LOG_BYTES, Identity, bound_log, open_log
from driftloop_local.errors import StackRefused
from driftloop_local.home import Home, cache_folder
from driftloop_local.parts import reasons_in
from driftloop_local.record import Board, Record, read_record
from driftloop_local.screen import without_password
from driftloop_local.services import SERVICES
from driftloop_local.wanted import Wanted, chosen_parts, everything, read_wanted, write_wanted


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.create()
    return home


def test_a_secret_is_made_once_and_is_for_its_owner_alone(home: Home) -> None:
    secret = home.secret("postgres")
    assert home.secret("postgres") == secret
    assert home.secret("monitor") != secret
    assert stat.S_IMODE((home.folder / "secrets" / "postgres").stat().st_mode) == 0o600
    assert stat.S_IMODE((home.folder / "secrets").stat().st_mode) == 0o700


def test_the_folder_is_that_of_the_environment_or_of_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DRIFTLOOP_HOME", raising=False)
    assert Home.here().folder == tmp_path / ".driftloop"
    monkeypatch.setenv("DRIFTLOOP_HOME", str(tmp_path / "elsewhere"))
    assert Home.here().folder == tmp_path / "elsewhere"


def test_the_cache_is_shared_by_every_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/driftloop")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "driftloop"


def test_the_record_is_read_as_it_was_written(home: Home) -> None:
    board = Board(home, Record(supervisor=Identity(1, 2.5), ports={"kafka": 10_001}, missing=("console",)))
    board.tell("kafka", "starting", address="127.0.0.1:10001", pid=7, pid_started=3.5)
    assert read_record(home) == board.record
    assert stat.S_IMODE(home.record.stat().st_mode) == 0o600


def test_since_changes_with_the_state_only_and_a_reason_is_not_kept(home: Home) -> None:
    board = Board(home, Record())
    board.tell("kafka", "starting", reason="no broker yet")
    first = board.record.parts["kafka"]
    board.tell("kafka", "starting", pid=7)
    second = board.record.parts["kafka"]
    assert (second.since, second.pid, second.reason) == (first.since, 7, None)


def test_a_supervisor_is_running_only_when_pid_and_start_time_fit(home: Home) -> None:
    assert not read_record(home).is_running
    assert not Record(supervisor=Identity(pid=1, started=1.0)).is_running


def test_a_log_that_has_grown_too_long_is_set_aside_also_under_its_writer(home: Home) -> None:
    path = home.log("kafka")
    with open_log(path) as writer:
        writer.write(b"x" * (MAX_LOG_BYTES + 1))
        writer.flush()
        bound_log(path)
        writer.write(b"new")
    assert path.read_bytes() == b"new"
    assert path.with_name("kafka.log.1").stat().st_size == MAX_LOG_BYTES + 1


def test_why_a_service_is_not_ready_is_said_in_its_own_words() -> None:
    assert reasons_in('{"ready": false, "reasons": {"kafka": "no topic runs.v1"}}') == "kafka: no topic runs.v1"
    assert reasons_in("<html>") == "<html>"


def test_a_service_brings_what_it_stands_on() -> None:
    assert chosen_parts(["monitor"]) == ("kafka", "postgres", "monitor")
    assert chosen_parts(["kafka"]) == ("kafka",)
    assert chosen_parts(None) == everything()


def test_an_unknown_part_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(StackRefused, match=r"zookeeper.*\n.*kafka, postgres, registry"):
        chosen_parts(["kafka", "zookeeper"])


def test_what_is_wanted_grows_in_the_order_of_the_catalogue(home: Home) -> None:
    write_wanted(home, Wanted(("kafka",), "/models").joined(Wanted(("kafka", "postgres"))))
    assert read_wanted(home) == Wanted(("kafka", "postgres"), "/models")


def test_services_that_share_a_module_share_its_database() -> None:
    for service in SERVICES:
        assert service.has_database == any(s.has_database for s in SERVICES if s.module == service.module)


def test_no_password_is_shown_on_the_screen() -> None:
    assert without_password("postgresql://postgres:secret@127.0.0.1:5/postgres") == (
        "postgresql://postgres:***@127.0.0.1:5/postgres"
    )
    assert without_password("127.0.0.1:9092") == "127.0.0.1:9092"
