"""One set of pins for all: each by its digests, and no registry is named in it."""

from __future__ import annotations

import re
import subprocess

from tree import ROOT

PIN = re.compile(r"^[a-z0-9][a-z0-9._-]*==\S+")


def unhashed(text: str) -> list[str]:
    """Pins without a digest; and whatever is neither pin, digest nor comment."""
    entries = [entry.strip() for entry in re.split(r"\n(?=\S)", text) if entry.strip() and not entry.startswith("#")]
    return [entry.split()[0] for entry in entries if not PIN.match(entry) or "--hash=sha256:" not in entry]


def test_every_pin_has_its_digests() -> None:
    assert unhashed((ROOT / "constraints.txt").read_text()) == []


def test_pins_name_no_registry_and_the_lock_that_does_is_not_committed() -> None:
    text = (ROOT / "constraints.txt").read_text()
    assert re.findall(r"\S*(?:://|--(?:extra-)?index-url|--find-links)\S*", text) == []
    committed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in committed if name.endswith("uv.lock")] == []


def test_a_pin_without_a_digest_is_seen() -> None:
    assert unhashed("good==1.0 \\\n    --hash=sha256:ab\nbad==2.0\n--index-url x\n") == ["bad==2.0", "--index-url"]
