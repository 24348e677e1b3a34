"""Results, one JSON line a run of a check, kept by commit: what is missing for this commit is known from them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from tests.faults.checks import BY_ID, CAPPED_AT, CHECKS, TO_REACH

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / ".driftloop" / "faults"
LOSSES: Final = ("lost", "dup", "phantom", "order_violations")


def commit() -> str:
    """What the working tree stands for: the commit, with a mark when something was changed since."""
    head = _git("rev-parse", "--short=12", "HEAD") or "unknown"
    return head + ("-changed" if _git("status", "--porcelain", "--untracked-files=no") else "")


def size() -> str:
    """`fast`: as CI runs it on every change; `whole`: as the plan says."""
    given = os.environ.get("DRIFTLOOP_FAULTS", "fast")
    if given not in ("fast", "whole"):
        raise ValueError(f"DRIFTLOOP_FAULTS is {given!r}: fast or whole")
    return given


def append(line: Mapping[str, Any]) -> None:
    """The line is on the disk."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / f"{line['commit']}.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def known(of: str, size: str) -> dict[str, dict[str, Any]]:
    """The last line of each check at this commit and size."""
    path = FOLDER / f"{of}.jsonl"
    lines = [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []
    return {line["check"]: line for line in lines if line["size"] == size}


def table(lines: Mapping[str, Mapping[str, Any]], ids: Iterable[str]) -> str:
    """A row for each check: points, and its figures."""
    rows = ["check  points  figures"]
    for check in (BY_ID[name] for name in ids):
        line = lines.get(check.id)
        reached = f"{check.points if line and line['pass'] else 0}/{check.points}"
        rows.append(f"{check.id:5}  {reached:>6}  {_figures(line) if line else 'not run'}")
    return "\n".join(rows)


def score(lines: Mapping[str, Mapping[str, Any]]) -> int:
    """Points; capped where a check of F or R has lost, doubled, invented or disordered something."""
    points = sum(check.points for check in CHECKS if check.id in lines and lines[check.id]["pass"])
    capped = any(line.get(name) for check, line in lines.items() if check[0] in "FR" for name in LOSSES)
    return min(points, CAPPED_AT) if capped else points


def summary(lines: Mapping[str, Mapping[str, Any]]) -> str:
    """The score in words."""
    worth = sum(check.points for check in CHECKS)
    return f"{score(lines)} of {worth} points; {TO_REACH} are to be reached"


def _figures(line: Mapping[str, Any]) -> str:
    hidden = {"check", "size", "commit", "seed", "versions", "bounds", "broken", "pass", "load"}
    said = ", ".join(f"{name} {value}" for name, value in line.items() if name not in hidden and value != [])
    return said + (f"; BROKEN: {'; '.join(line['broken'])}" if line["broken"] else "")


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
