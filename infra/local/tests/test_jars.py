"""Only the pinned bytes are ever used: a flipped bit or half a file is fetched again, and a bad source is refused."""

import hashlib
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from driftloop_local import jars
from driftloop_local.errors import StackRefused
from driftloop_local.jars import Fetched, Jar, file_name_of, is_intact, parse_pins, pinned_jars

CONTENT = b"PK the bytes of a jar" * 1000
JAR = Jar("org.example:thing_2.13:1.0.2", hashlib.sha256(CONTENT).hexdigest())


def test_a_coordinate_names_its_file() -> None:
    assert file_name_of("org.apache.kafka:kafka_2.13:4.3.1") == "kafka_2.13-4.3.1.jar"


@pytest.mark.parametrize("wrong", ["kafka", "org:kafka", "a:b:c:d", "a::1", ":b:1", ""])
def test_anything_else_is_no_coordinate(wrong: str) -> None:
    with pytest.raises(ValueError, match="group:artifact:version"):
        file_name_of(wrong)


def test_lists_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"thing-1\.jar"):
        parse_pins("org.example:thing:1\norg.example:other:2\n", "00  other-2.jar\n")


def test_every_jar_of_kafka_is_pinned_and_so_is_its_logging() -> None:
    pins = pinned_jars()
    assert len(pins) == len({jar.file_name for jar in pins}) == 46
    assert all(len(jar.sha256) == 64 for jar in pins)
    assert {"kafka_2.13-4.3.1.jar", "kafka-clients-4.3.1.jar", "log4j-slf4j-impl-2.25.4.jar"} <= {
        jar.file_name for jar in pins
    }


def test_one_flipped_bit_is_seen(tmp_path: Path) -> None:
    path = tmp_path / JAR.file_name
    path.write_bytes(CONTENT)
    assert is_intact(JAR, tmp_path)
    flipped = bytearray(CONTENT)
    flipped[len(flipped) // 2] ^= 1
    path.write_bytes(flipped)
    assert not is_intact(JAR, tmp_path)


def test_half_a_file_and_an_absent_one_are_seen(tmp_path: Path) -> None:
    assert not is_intact(JAR, tmp_path)
    (tmp_path / JAR.file_name).write_bytes(CONTENT[: len(CONTENT) // 2])
    assert not is_intact(JAR, tmp_path)


def test_a_broken_jar_is_fetched_again_and_the_sound_ones_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound, cut = pinned_of(b"sound", "sound"), pinned_of(b"whole", "cut")
    monkeypatch.setattr(jars, "pinned_jars", lambda: (sound, cut))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / sound.file_name).write_bytes(b"sound")
    (tmp_path / "cache" / cut.file_name).write_bytes(b"who")
    put(tmp_path / "repository", cut, b"whole")
    with serving(tmp_path / "repository") as mirror:
        monkeypatch.setenv("DRIFTLOOP_MAVEN", mirror)
        heard = ensured(tmp_path / "cache")
    assert heard == [(cut.file_name, len(b"whole"))]
    assert jars.broken_jars(tmp_path / "cache") == []


def test_bytes_that_are_not_the_pinned_ones_are_never_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "pinned_jars", lambda: (JAR,))
    put(tmp_path / "repository", JAR, b"something else")
    with serving(tmp_path / "repository") as mirror:
        monkeypatch.setenv("DRIFTLOOP_MAVEN", mirror)
        with pytest.raises(StackRefused, match="pinned is") as refusal:
            ensured(tmp_path / "cache")
    assert "next step" in str(refusal.value)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_jar_that_nobody_has_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "pinned_jars", lambda: (JAR,))
    with serving(tmp_path) as mirror:
        monkeypatch.setenv("DRIFTLOOP_MAVEN", mirror)
        with pytest.raises(StackRefused, match=JAR.coordinate):
            ensured(tmp_path / "cache")


def test_only_pinned_jars_are_on_the_class_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "pinned_jars", lambda: (JAR,))
    (tmp_path / "error_prone_annotations.jar").write_bytes(b"a stranger")
    assert jars.class_path(tmp_path) == str(tmp_path / JAR.file_name)


def pinned_of(content: bytes, artifact: str) -> Jar:
    return Jar(f"org.example:{artifact}:1", hashlib.sha256(content).hexdigest())


def put(repository: Path, jar: Jar, content: bytes) -> None:
    """The bytes lie where a Maven repository keeps that coordinate."""
    group, artifact, version = jar.coordinate.split(":")
    folder = repository.joinpath(*group.split("."), artifact, version)
    folder.mkdir(parents=True)
    (folder / jar.file_name).write_bytes(content)


def ensured(folder: Path) -> list[tuple[str, int]]:
    heard: list[tuple[str, int]] = []

    @contextmanager
    def watch(count: int) -> Iterator[Fetched]:
        assert count == len(jars.broken_jars(folder))
        yield lambda name, size: heard.append((name, size))

    jars.ensure_jars(folder, watch)
    return heard


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is the library's)
        return None


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A Maven repository on loopback."""
    folder.mkdir(exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        shutil.rmtree(folder, ignore_errors=True)
