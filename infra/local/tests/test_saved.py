"""What a backup's folder says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from driftloop_local import saved
from driftloop_local.errors import StackRefused


def a_backup(folder: Path) -> saved.Manifest:
    (folder / "databases").mkdir(parents=True)
    for name in ("one", "two"):
        (folder / "databases" / name).write_bytes(name.encode())
    files = {name: saved.digest_of(folder / name) for name in saved.files_of(folder)}
    manifest = saved.Manifest("2026-01-01T00:00:00+00:00", "2026-01-01T00:01:00+00:00", files=files)
    manifest.write(folder)
    return manifest


def test_what_was_written_is_read_and_is_whole(tmp_path: Path) -> None:
    manifest = a_backup(tmp_path)
    assert saved.read(tmp_path) == manifest
    assert list(saved.damages(tmp_path, manifest)) == []


def test_every_kind_of_damage_is_named(tmp_path: Path) -> None:
    manifest = a_backup(tmp_path)
    (tmp_path / "databases" / "one").write_bytes(b"onf")
    (tmp_path / "databases" / "two").unlink()
    (tmp_path / "stray").touch()
    assert list(saved.damages(tmp_path, manifest)) == [
        "databases/one is not what was written",
        "databases/two is missing",
        "stray is not of this backup",
    ]


def test_a_folder_without_a_manifest_is_no_backup(tmp_path: Path) -> None:
    with pytest.raises(StackRefused, match="no backup"):
        saved.read(tmp_path)
