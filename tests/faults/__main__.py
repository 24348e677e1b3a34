"""`python -m tests.faults [--fast] [ID ...]`: runs what is missing for this commit, then prints the table and the score."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from typing import Final

from tests.faults.checks import BY_ID, CHECKS, Check
from tests.faults.results import ROOT, commit, known, summary, table

ENDS_WITHIN_S: Final = 60.0


def main() -> int:
    """0 when every check that was asked for has passed; 1 else."""
    asked = _words()
    size = "fast" if asked.fast else "whole"
    checks = (
        [BY_ID[name] for name in asked.ids] if asked.ids else [one for one in CHECKS if not asked.fast or one.fast_s]
    )
    there, began = known(commit(), size), time.monotonic()
    for check in checks:
        if check.id not in there or asked.ids:
            _run(check, size)
    lines = known(commit(), size)
    print(table(lines, [check.id for check in checks]))
    took_s = time.monotonic() - began
    print(summary(lines) if not asked.fast else f"the short forms took {took_s:.0f} s, and have no score")
    return 0 if all(lines.get(check.id, {}).get("pass") for check in checks) else 1


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="the short forms that CI runs on every change")
    parser.add_argument("ids", nargs="*", choices=[*BY_ID, []], metavar="ID", help="run these, also if they were run")
    return parser.parse_args()


def _run(check: Check, size: str) -> None:
    """The check in a process of its own. What it found it has written down itself."""
    path = ROOT / "tests" / check.file
    if not path.exists():
        print(f"{check.id}: {check.file} is not there yet", flush=True)
        return
    within_s = (check.fast_s or check.whole_s) * 1.5 if size == "fast" else check.whole_s
    # Everything in the file, also what `make test` runs every time.
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-m", "", str(path)]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | {"DRIFTLOOP_FAULTS": size}) as running:
        try:
            running.wait(within_s)
        except subprocess.TimeoutExpired:
            print(f"{check.id}: stopped after {within_s:.0f} s", flush=True)
            _end(running)


def _end(running: subprocess.Popen[bytes]) -> None:
    """It has ended. Interrupted first, as by a person: killed at once, it would leave the services that it has started."""
    running.send_signal(signal.SIGINT)
    try:
        running.wait(ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        running.kill()


if __name__ == "__main__":
    sys.exit(main())
