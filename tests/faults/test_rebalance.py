"""F3: members of one group come and go faster than it settles; it goes on all the same."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Final

import pytest
from tests.faults.account import Account, told
from tests.faults.report import Report
from tests.faults.results import size
from tests.faults.stream import Stream
from tests.faults.tallying import Tallied, effects, longest_still_s, regressions, zombie_rows
from tests.faults.verdict import judge

from driftloop_kit.testing import ServiceProcess
from driftloop_local.stack import LocalStack

pytestmark = [pytest.mark.faults, pytest.mark.stack]

CHANGES: Final = {"fast": 8, "whole": 100}
EACH_S: Final = 2.0
MOST_MEMBERS: Final = 4
PER_SECOND: Final = 100.0
SEED: Final = 7


class Group:
    """Its members, and the logs of all that ever were."""

    def __init__(self, tallied: Tallied) -> None:
        self._tallied = tallied
        self._members: list[ServiceProcess] = []
        self._all: list[ServiceProcess] = []

    def grow(self) -> None:
        """One more; ready or not."""
        member = self._tallied.member(f"m{len(self._all)}")
        member.start()
        self._members.append(member)
        self._all.append(member)

    def change(self, chance: random.Random) -> bool:
        """A member comes, or one is asked to leave and nobody waits for it; False when neither can be now.

        Of those that read already one stays: who has just been started may need as long as it likes to read.
        """
        reading = [one for one in self._members if one.ready().get("ready")]
        if len(reading) > 1 and (len(self._members) >= MOST_MEMBERS or chance.random() < 0.5):
            leaving = chance.choice(reading)
            leaving.process.terminate()
            self._members.remove(leaving)
            return True
        if len(self._members) < MOST_MEMBERS:
            self.grow()
            return True
        return False

    def first_ready(self) -> None:
        """It reads."""
        self._members[0].until_ready()

    def fenced(self) -> int:
        """How often a member found that its partition had another owner."""
        return sum(one.log.read_text().count('"event": "fenced"') for one in self._all)

    def codes(self) -> list[int]:
        """How those ended that were asked to."""
        gone = [one for one in self._all if one not in self._members]
        return [one.process.wait(30) for one in gone]

    def end(self) -> None:
        """Nobody runs."""
        for one in self._all:
            one.kill()


def test_a_group_that_never_settles_goes_on(stack: LocalStack, kafka: str, tmp_path: Path, report: Report) -> None:
    tallied, chance = Tallied(stack, kafka, tmp_path), random.Random(SEED)
    group = Group(tallied)
    try:
        group.grow()
        group.first_ready()
        with Account(tmp_path / "account") as account, Stream(kafka, account, PER_SECOND):
            tallied.first_after(time.time(), 60)
            since = time.time()
            changes = 0
            while changes < CHANGES[size()]:
                time.sleep(EACH_S)
                changes += group.change(chance)
            until = time.time()
        lines = told(account.path)
        drained_s = tallied.until_all({line.id for line in lines if line.state == "ok"}, 90)
        untold = tallied.untold()
        fenced, codes = group.fenced(), group.codes()
    finally:
        group.end()
    rows = tallied.rows()
    parts = sorted({row.part for row in rows})
    still = {part: longest_still_s([row for row in rows if row.part == part], since, until) for part in parts}
    report(
        "F3", judge(lines, effects(rows)), seed=SEED, changes=CHANGES[size()], members=len({row.member for row in rows}),
        seconds=round(until - since), still_s=round(longest_still_s(rows, since, until), 1),
        still_partition_s=round(max(still.values()), 1), fenced=fenced, zombie_rows=zombie_rows(rows),
        regressions=regressions(rows), untold=untold, drained_s=round(drained_s, 1), crashes=sum(map(bool, codes)),
        bounds={"still_s": 10.0, "still_partition_s": 10.0, "zombie_rows": 0, "regressions": 0, "untold": 0, "crashes": 0},
    )  # fmt: skip
