"""The detector's step under every order of faults: a window is judged once, and memory is what was committed."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from services.monitor.tests.world import declaration, loss_to_hold
from tests.machines import Played, found, play

from driftloop_detect.windows import Judged, TriggerState
from monitor.domain.losses import DAY_US
from monitor.domain.watch import Seen, Watch, next_close, started, stepped
from monitor.handlers.heard import rules_of, windows_of

RULES = rules_of(declaration())
BACKTEST = windows_of(loss_to_hold(), RULES.trigger_loss)
SINCE_US = BACKTEST[-1].close_us
MEANS = st.sampled_from([0.17, 0.18, 0.19, 0.2, 0.35])


class Detectors(Played):
    """Windows of a version close one after the other; whoever watches dies, forgets and is told again."""

    def __init__(self) -> None:
        super().__init__()
        self.watch = self.fresh()
        self.newest_us = SINCE_US
        self.waiting: list[Seen] = []
        self.committed: list[Seen] = []
        self.verdicts: list[Judged] = []

    @staticmethod
    def fresh() -> Watch:
        return started("1", SINCE_US, BACKTEST, RULES)

    @staticmethod
    def step(watch: Watch, window: Seen) -> tuple[Watch, Judged | None]:
        return stepped(watch, RULES, window)

    @rule(mean=MEANS)
    def close(self, mean: float) -> None:
        """One more window of the world is over."""
        open_ended = replace(self.watch, open_us=self.newest_us, tried_us=self.newest_us)
        self.newest_us = next_close(open_ended, RULES)
        self.waiting.append(Seen(self.newest_us, mean, 100))

    @precondition(lambda self: self.waiting)
    @rule(windows=st.integers(1, 4))
    def deliver(self, windows: int) -> None:
        """The next windows are judged, as many as one transaction has."""
        watch, verdicts, taken = self.watch, list[Judged](), self.waiting[:windows]
        for window in taken:
            watch, verdict = self.step(watch, window)
            verdicts += [verdict] if verdict else []
        self.commit(watch, taken, verdicts)

    @precondition(lambda self: self.waiting)
    @rule()
    def crash(self) -> None:
        """What was judged and not committed is judged the same again."""
        first, again = (self.step(self.watch, self.waiting[0]) for _ in range(2))
        assert first == again
        self.watch = kept(self.watch)

    @precondition(lambda self: self.waiting)
    @rule()
    def drop_ack(self) -> None:
        """It is committed, nobody hears of it, and the same window is offered again."""
        window = self.waiting[0]
        watch, verdict = self.step(self.watch, window)
        self.commit(watch, [window], [verdict] if verdict else [])
        self.offered(window)

    @precondition(lambda self: self.committed)
    @rule(data=st.data())
    def duplicate(self, data: st.DataObject) -> None:
        """An old window is offered once more, late: `reorder` of windows ends here too."""
        self.offered(self.committed[data.draw(st.integers(0, len(self.committed) - 1))])

    @precondition(lambda self: len(self.waiting) > 1)
    @rule()
    def reorder(self) -> None:
        """A window comes after a later one: the later one is judged, and what it overtook is passed by."""
        self.waiting.pop(0)

    @rule(days=st.integers(1, 400))
    def clock_jump(self, days: int) -> None:
        """Nothing comes for so long."""
        self.newest_us += days * DAY_US

    @invariant()
    def each_window_is_judged_once_in_its_order(self) -> None:
        closes = [verdict.window.close_us for verdict in self.verdicts]
        assert closes == [window.close_us for window in self.committed], "a window was judged twice, or never"
        assert closes == sorted(set(closes))

    @invariant()
    def what_is_kept_is_all_that_there_is(self) -> None:
        assert kept(self.watch) == self.watch

    def teardown(self) -> None:
        """Whoever sees the same windows without a fault has the same memory and said the same."""
        try:
            watch, verdicts = self.fresh(), list[Judged]()
            for window in self.committed:
                watch, verdict = stepped(watch, RULES, window)
                verdicts += [verdict] if verdict else []
            assert verdicts == self.verdicts
            assert replace(watch, tried_us=0) == replace(self.watch, tried_us=0)
            self.steps["alarms"] += sum(verdict.alarm for verdict in verdicts)
        finally:
            super().teardown()

    def commit(self, watch: Watch, taken: list[Seen], verdicts: list[Judged]) -> None:
        self.watch = watch
        self.committed += taken
        self.verdicts += verdicts
        del self.waiting[: len(taken)]

    def offered(self, window: Seen) -> None:
        """Nothing follows from it, and nothing is remembered of it but that it was looked at."""
        watch, verdict = self.step(self.watch, window)
        self.verdicts += [verdict] if verdict else []
        self.watch = replace(watch, tried_us=self.watch.tried_us)


def kept(watch: Watch) -> Watch:
    """The watch as it comes back from where it is kept."""
    if watch.trigger is None:
        return watch
    return replace(watch, trigger=TriggerState.from_bytes(RULES.trigger.spec, watch.trigger).to_bytes())


class Forgetful(Detectors):
    """A step that forgets which windows it has judged."""

    @staticmethod
    def step(watch: Watch, window: Seen) -> tuple[Watch, Judged | None]:
        state = TriggerState.from_bytes(RULES.trigger.spec, watch.trigger or b"")
        return stepped(replace(watch, trigger=replace(state, closes_us=()).to_bytes()), RULES, window)


class Deaf(Detectors):
    """A step that begins anew with each window."""

    @staticmethod
    def step(watch: Watch, window: Seen) -> tuple[Watch, Judged | None]:
        after, verdict = stepped(replace(watch, trigger=Detectors.fresh().trigger), RULES, window)
        return after, verdict if window.close_us > watch.open_us else None


def test_a_window_is_judged_once_and_memory_is_what_was_committed() -> None:
    play(Detectors, examples=100)
    assert Detectors.steps["alarms"] > 0


def test_the_machine_is_seen_to_bite() -> None:
    for wrong in (Forgetful, Deaf):
        assert "DRIFTLOOP_SEED=" in found(wrong, examples=300)
