"""The ahead-of-time cache is used only as it was written, and only the newest are kept."""

import os
from pathlib import Path

import pytest

from driftloop_local import aot, kafka


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = aot.aot_cache()
    cache.parent.mkdir(parents=True)
    return cache


def written(cache: Path, content: bytes) -> None:
    fresh = cache.with_name(".fresh")
    fresh.write_bytes(content)
    aot.keep(fresh, cache)


def test_a_broker_starts_plain_until_there_is_one(cache: Path) -> None:
    assert aot.aot_flags() == ()
    written(cache, b"classes")
    assert aot.aot_flags() == (f"-XX:AOTCache={cache}",)


def test_one_with_a_flipped_bit_is_not_used_and_makes_room_for_a_new_one(cache: Path) -> None:
    written(cache, b"classes")
    cache.write_bytes(b"clasres")
    assert aot.aot_flags() == ()
    assert list(cache.parent.iterdir()) == []


def test_other_flags_of_java_need_another_one(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aot, "JAVA_FLAGS", (*kafka.JAVA_FLAGS, "-XX:+UseZGC"))
    assert aot.aot_cache() != cache


def test_only_the_newest_are_kept(cache: Path) -> None:
    for age, name in enumerate(("new", "older", "oldest")):
        path = cache.with_name(f"{name}.aot")
        written(path, b"classes")
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    written(cache, b"classes")
    assert {path.name for path in cache.parent.glob("*.aot")} == {cache.name, "new.aot"}
