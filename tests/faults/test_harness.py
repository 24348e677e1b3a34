"""The judge itself: each thing that must never happen is seen, and counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.faults import results
from tests.faults.account import Account, Line, Refused, Unanswered, longest_silence_ms, told
from tests.faults.verdict import Effect, judge


def lines(*attempts: tuple[str, str]) -> list[Line]:
    """(id, state), a key for all, in order."""
    return [Line(float(seq), "c", "k", seq, what, state) for seq, (what, state) in enumerate(attempts)]  # type: ignore[arg-type]


def effects(*ids: str) -> list[Effect]:
    """Effects of ids that end with their sequence number."""
    return [Effect("k", what, int(what[-1])) for what in ids]


def test_what_was_acked_and_is_there_once_and_in_order_holds() -> None:
    verdict = judge(lines(("a0", "ok"), ("a1", "indefinite"), ("a2", "fail"), ("a3", "ok")), effects("a0", "a1", "a3"))
    assert verdict.holds
    assert (verdict.acked, verdict.indefinite, verdict.refused) == (2, 1, 1)


@pytest.mark.parametrize(
    ("attempts", "happened", "name"),
    [
        ([("a0", "ok"), ("a1", "ok")], ["a0"], "lost"),
        ([("a0", "ok")], ["a0", "a0"], "dup"),
        ([("a0", "indefinite")], ["a0", "a0"], "dup"),
        ([("a0", "ok")], ["a0", "b1"], "phantom"),
        ([("a0", "ok"), ("a1", "fail")], ["a0", "a1"], "phantom"),
        ([("a0", "ok"), ("a1", "ok")], ["a1", "a0"], "order_violations"),
    ],
)
def test_each_thing_that_must_not_happen_is_counted(
    attempts: list[tuple[str, str]], happened: list[str], name: str
) -> None:
    verdict = judge(lines(*attempts), effects(*happened))
    assert not verdict.holds
    assert getattr(verdict, name) == 1
    assert bool(verdict.culprits) == (name != "order_violations")
    assert getattr(verdict + verdict, name) == 2


def test_an_account_knows_what_each_client_was_told(tmp_path: Path) -> None:
    with Account(tmp_path / "account") as account:
        with account.attempt("c", "k", 0, "yes"):
            pass
        with account.attempt("c", "k", 1, "no"):
            raise Refused("409")
        with account.attempt("c", "k", 2, "who knows"):
            raise Unanswered("the connection was cut")
        with pytest.raises(ZeroDivisionError), account.attempt("c", "k", 3, "a mistake of the check"):
            raise ZeroDivisionError
    assert {line.id: line.state for line in told(account.path)} == {
        "yes": "ok", "no": "fail", "who knows": "indefinite", "a mistake of the check": "indefinite",
    }  # fmt: skip


def test_an_attempt_that_was_cut_off_may_have_happened(tmp_path: Path) -> None:
    path = tmp_path / "account"
    path.write_text(json.dumps({"t": 1.0, "client": "c", "key": "k", "seq": 0, "id": "a0", "state": "attempt"}) + "\n")
    assert judge(told(path), effects("a0")).holds
    assert judge(told(path), []).holds


def test_the_longest_silence_counts_from_the_start_and_to_the_end() -> None:
    said = [
        Line(10.0, "c", "k", 0, "a", "ok"),
        Line(10.2, "c", "k", 1, "b", "ok"),
        Line(11.0, "c", "k", 2, "x", "fail"),
    ]
    assert longest_silence_ms(said, 9.9, 10.9) == pytest.approx(700)


def test_a_loss_caps_the_score() -> None:
    good = {one.id: {"check": one.id, "pass": True, "lost": 0} for one in results.CHECKS}
    assert results.score(good) == 66
    assert results.score(good | {"F5": {"check": "F5", "pass": False, "lost": 1}}) == results.CAPPED_AT
