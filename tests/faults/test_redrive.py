"""R5: a service with a bug parks, floods and is resumed by hand; mended, all of it is redriven, and has its effects once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import pytest
from tests.faults.account import Account, told
from tests.faults.clerks import a_group, ends, mended, on_topic, outcome, outcomes, send, until_at
from tests.faults.redriving import driftloop, interrupted, is_marked, letters, parked_by_the_bug
from tests.faults.report import Report
from tests.faults.results import size
from tests.faults.verdict import judge

from driftloop_contracts.topics import OUTCOMES
from driftloop_local.stack import LocalStack

pytestmark = [pytest.mark.faults, pytest.mark.stack]

PARKED: Final = {"fast": 100, "whole": 1_000}
WHERE: Final = ("--topic", OUTCOMES.name, "--group", "clerk")


def test_what_was_parked_has_its_effects_once_when_it_is_redriven(
    stack: LocalStack, kafka: str, tmp_path: Path, report: Report
) -> None:
    wanted = PARKED[size()]
    buggy, witness = a_group(stack, kafka, tmp_path, "clerk", CLERK_BUG="1"), a_group(stack, kafka, tmp_path, "witness")
    clerk = mended(buggy)
    with Account(tmp_path / "account") as account:
        send(kafka, account, [one for partition in range(4) for one in outcomes(partition, wanted // 4)])
        with witness.service:
            floods = parked_by_the_bug(buggy)
            parked = letters(kafka, clerk.service)
            # Newer ones of the same keys: what is redriven comes behind them.
            send(kafka, account, [outcome(partition, 2 * wanted) for partition in range(4)])
            with clerk.service:
                clerk.service.until_ready()
                interrupted(kafka, "dead", "redrive", *WHERE, "--all")
                began = time.monotonic()
                first = driftloop(kafka, clerk.service, "dead", "redrive", *WHERE, "--all")
                redriven_s = time.monotonic() - began
                until_at(clerk, ends(kafka))
                effects_s = time.monotonic() - began
                once = clerk.effects()
                second = driftloop(kafka, clerk.service, "dead", "redrive", *WHERE, "--all")
                third = driftloop(kafka, clerk.service, "dead", "redrive", *WHERE, "--all", "--again")
                for group in (clerk, witness):
                    until_at(group, ends(kafka))
                effects, seen = clerk.effects(), witness.effects()
        lines = told(account.path)
    copies = [record for record in on_topic(kafka, OUTCOMES.name) if "redriven_letter" in dict(record.headers)]
    verdict = judge(lines, effects)
    report(
        "R5",
        verdict,
        parked=len(parked),
        not_parked=abs(wanted - len(parked)),
        floods=floods,
        redriven_s=round(redriven_s, 2),
        effects_s=round(effects_s, 2),
        without_effect=wanted - sum(effect.seq % 2 for effect in once),
        second_effects=len(effects) - len(once),
        seen_twice_elsewhere=len(seen) - len({effect.id for effect in seen}),
        parked_elsewhere=len(witness.dead()),
        sent_twice_by_interruption=len(copies) - 2 * wanted,
        unmarked=sum(not is_marked(record, parked) for record in copies),
        bounds={
            "second_effects": 0,
            "seen_twice_elsewhere": 0,
            "parked_elsewhere": 0,
            "unmarked": 0,
            "not_parked": 0,
            "without_effect": 0,
        },
    )
    assert judge(lines, seen).holds
    assert sum(int(line.split()[0]) for line in first.splitlines()) == wanted
    assert third == f"{wanted} redriven\n"
    assert second.startswith(f"{wanted} already redriven")
