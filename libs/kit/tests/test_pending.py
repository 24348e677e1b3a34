"""However transactions, looks and the relay interleave: never 0 while a committed row of ours waits."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from driftloop_kit.pending import Pending


@dataclass
class Look:
    """A look at the database on its way: what it was marked with, and what it saw once it saw it."""

    mark: int
    rows: list[int] | None = None


@dataclass
class Database:
    """Committed rows that wait, by id; `foreign` ones came from another instance."""

    waiting: dict[int, str] = field(default_factory=dict)
    next_id: int = 0

    def commit(self, rows: int, whose: str) -> None:
        for _ in range(rows):
            self.next_id += 1
            self.waiting[self.next_id] = whose


class Interleavings(RuleBasedStateMachine):
    LIMIT = 3

    def __init__(self) -> None:
        super().__init__()
        self.pending = Pending()
        self.database = Database()
        self.open: list[int] = []
        self.answers: list[tuple[int, bool]] = []
        self.relay: Look | None = None
        self.counter: Look | None = None
        self.marked: tuple[int, int] | None = None

    @rule(rows=st.integers(1, 4))
    def a_transaction_is_over_at_once(self, rows: int) -> None:
        self.pending.adding(rows)
        self.database.commit(rows, "ours")
        self.pending.settled(rows)

    @precondition(lambda self: self.relay is None and self.marked is None)
    @rule()
    def the_relay_looks_at_once(self) -> None:
        self.the_relay_begins_to_look()
        self.the_relays_query_is_answered()
        self.the_relay_has_looked()

    @precondition(lambda self: len(self.open) < 3)
    @rule(rows=st.integers(1, 2))
    def a_transaction_writes(self, rows: int) -> None:
        self.pending.adding(rows)
        self.open.append(rows)

    @precondition(lambda self: self.open)
    @rule(kept=st.sampled_from([True, True, False]))
    def it_ends_in_the_database(self, kept: bool) -> None:
        rows = self.open.pop(0)
        if kept:
            self.database.commit(rows, "ours")
        self.answers.append((rows, kept))

    @precondition(lambda self: self.answers)
    @rule()
    def its_answer_arrives(self) -> None:
        rows, kept = self.answers.pop(0)
        (self.pending.settled if kept else self.pending.withdrawn)(rows)

    @precondition(lambda self: len(self.database.waiting) < 8)
    @rule()
    def another_instance_commits(self) -> None:
        self.database.commit(1, "foreign")

    @precondition(lambda self: self.relay is None and self.marked is None)
    @rule()
    def the_relay_begins_to_look(self) -> None:
        self.relay = Look(self.pending.look())

    @precondition(lambda self: self.relay and self.relay.rows is None)
    @rule()
    def the_relays_query_is_answered(self) -> None:
        assert self.relay
        self.relay.rows = sorted(self.database.waiting)[: self.LIMIT]

    @precondition(lambda self: self.relay and self.relay.rows is not None and self.marked is None)
    @rule()
    def the_relay_has_looked(self) -> None:
        assert self.relay
        rows = self.relay.rows or []
        self.pending.looked(self.relay.mark, len(rows), more=len(rows) == self.LIMIT)
        self.marked = (self.pending.publishing(), len(rows))
        if not rows:
            self.relay = self.marked = None

    @precondition(lambda self: self.relay and self.marked)
    @rule()
    def the_relays_rows_are_marked(self) -> None:
        assert self.relay
        for row in self.relay.rows or []:
            self.database.waiting.pop(row, None)
        self.relay = None

    @precondition(lambda self: self.relay is None and self.marked)
    @rule()
    def the_relay_learns_that_they_are(self) -> None:
        assert self.marked
        self.pending.published(*self.marked)
        self.marked = None

    @precondition(lambda self: self.counter is None)
    @rule()
    def somebody_counts_at_once(self) -> None:
        self.somebody_begins_to_count()
        self.the_count_is_taken()
        self.somebody_has_counted()

    @precondition(lambda self: self.counter is None)
    @rule()
    def somebody_begins_to_count(self) -> None:
        self.counter = Look(self.pending.look())

    @precondition(lambda self: self.counter and self.counter.rows is None)
    @rule()
    def the_count_is_taken(self) -> None:
        assert self.counter
        self.counter.rows = list(self.database.waiting)

    @precondition(lambda self: self.counter and self.counter.rows is not None)
    @rule()
    def somebody_has_counted(self) -> None:
        assert self.counter
        self.pending.looked(self.counter.mark, len(self.counter.rows or []))
        self.counter = None

    @precondition(lambda self: not (self.open or self.answers or self.relay or self.marked or self.counter))
    @rule()
    def it_is_exact_after_a_look_at_a_quiet_database(self) -> None:
        self.pending.looked(self.pending.look(), len(self.database.waiting))
        assert self.pending.value == len(self.database.waiting)

    @invariant()
    def it_never_says_nothing_while_something_of_ours_waits(self) -> None:
        if "ours" in self.database.waiting.values():
            assert self.pending.value != 0


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=400, stateful_step_count=50, deadline=None)


def test_a_count_between_the_mark_in_the_database_and_its_answer_is_not_taken_off_twice() -> None:
    pending = Pending()
    pending.adding(1)
    pending.settled(1)
    pending.looked(pending.look(), 1)
    mark = pending.publishing()
    # Here the row is marked in the database; another is committed, and somebody counts.
    pending.adding(1)
    pending.settled(1)
    pending.looked(pending.look(), 1)
    pending.published(mark, 1)
    assert pending.value == 1
