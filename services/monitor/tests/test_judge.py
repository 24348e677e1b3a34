"""One look at two versions."""

from dataclasses import replace

import numpy as np
import pytest
from services.monitor.tests.world import declaration

from monitor.domain import judge
from monitor.domain.judge import Sum, Unit
from monitor.domain.losses import DAY_US, last_24h_rate, losses
from monitor.domain.rows import BETWEEN, Arrivals, Paired
from monitor.handlers.heard import rules_of

RULES = rules_of(declaration())


def units(
    gains: list[float], floor: float = 1.0, slices: dict[str, float] | None = None, rows: int = 200
) -> list[Unit]:
    """A unit of so many rows for each gain, the champion losing .8 a row."""

    def sums(gain: float) -> Sum:
        return Sum(rows, 0.8 * rows, (0.8 - gain) * rows)

    by_slice = {name: sums(gain) for name, gain in (slices or {}).items()}
    return [Unit(i, sums(gain), sums(gain), floor * rows, by_slice) for i, gain in enumerate(gains)]


def test_a_gain_in_every_unit_is_better() -> None:
    look = judge.look(units([0.2, 0.3, 0.25, 0.2, 0.3, 0.25, 0.2]), RULES, 1, last=False)
    assert look.verdict == "better"
    assert 0.2 <= look.lower < look.gain < look.upper <= 0.3
    assert (look.rows, look.windows, look.resamples) == (1400, 7, 2000)
    assert look.champion_loss == pytest.approx(0.8)
    assert look.challenger_loss == pytest.approx(0.8 - look.gain)
    assert look.floors == {"last_24h_rate": 1.0}


def test_a_gain_that_some_units_deny_is_undecided_and_at_the_last_look_worse() -> None:
    mixed = units([0.3, -0.3, 0.2, -0.1, 0.1, -0.2, 0.1])
    assert judge.look(mixed, RULES, 1, last=False).verdict == "undecided"
    last = judge.look(mixed, RULES, 1, last=True)
    assert last.verdict == "worse"


def test_a_loss_in_every_unit_is_worse_before_the_last_look() -> None:
    assert judge.look(units([-0.2] * 7), RULES, 1, last=False).verdict == "worse"


def test_who_does_not_beat_the_floor_is_not_better() -> None:
    look = judge.look(units([0.2] * 7, floor=0.5), RULES, 1, last=False)
    assert look.verdict == "undecided"
    assert "last_24h_rate" in look.reason


def test_who_is_clearly_worse_on_a_slice_is_not_better() -> None:
    look = judge.look(units([0.2] * 7, slices={"site=EWR": 0.4, "site=JFK": -0.1}), RULES, 1, last=False)
    assert look.slices_worse == ("site=JFK",)
    assert look.verdict == "undecided"


def test_the_margin_of_the_gate_must_be_cleared() -> None:
    look = judge.look(units([0.2] * 7), replace(RULES, margin=0.3), 1, last=False)
    assert look.verdict == "worse"


def test_without_rows_nothing_is_decided() -> None:
    look = judge.look([], RULES, 1, last=False)
    assert (look.verdict, look.rows, look.floors) == ("undecided", 0, {})


def test_the_seed_comes_from_the_event_and_the_same_seed_gives_the_same_bound() -> None:
    seed = judge.seed_of("deployment-2")
    mixed = units([0.3, -0.1, 0.2, 0.1, 0.15, 0.2, 0.1])
    assert judge.look(mixed, RULES, seed, last=False) == judge.look(mixed, RULES, seed, last=False)
    assert seed != judge.seed_of("deployment-3")


def test_rows_are_reduced_to_sums_by_slice_with_the_floor_of_what_had_arrived() -> None:
    pair = Paired(
        times_us=np.array([DAY_US, 2 * DAY_US]), arrived_us=np.array([DAY_US + 5, 2 * DAY_US + 5]),
        champion=np.array([0.5, 1.5]), challenger=np.array([0.4, 1.0]), values=np.array([1.0, 0.0]),
        slices=[BETWEEN.join(["site=EWR", "x=1"]), "site=JFK"],
    )  # fmt: skip
    arrivals = Arrivals(np.array([DAY_US - 2, DAY_US - 1]), np.array([1.0, 0.0]))
    unit = judge.reduced(pair, arrivals, RULES, 3 * DAY_US)
    assert unit.all == Sum(2, 2.0, 1.4)
    assert unit.slices == {"site=EWR": Sum(1, 0.5, 0.4), "site=JFK": Sum(1, 1.5, 1.0)}
    # Before the second nothing had arrived within 24 hours.
    assert unit.with_floor == Sum(1, 0.5, 0.4)
    assert unit.floor == pytest.approx(np.log(2))


def test_the_last_24_hours_rate_knows_only_what_had_arrived_before() -> None:
    arrived = np.array([0, 10, DAY_US, DAY_US + 1])
    values = np.array([1.0, 0.0, 1.0, 1.0])
    times = np.array([0, 1, 11, DAY_US, DAY_US + 1, 3 * DAY_US])
    rates = last_24h_rate(times, arrived, values)
    assert np.isnan(rates[[0, 5]]).all()
    assert rates[1:5].tolist() == [1.0, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("name", ["log_loss", "brier", "squared"])
def test_a_loss_is_finite_or_absent_whatever_comes(name: str) -> None:
    odd = np.array([np.nan, np.inf, -1.0, 2.0, 0.0, 1.0, 1e200])
    found = losses(name, odd, np.array([1.0, 1.0, 1.0, 0.0, 1.0, np.nan, 0.0]))
    assert not np.isinf(found).any()
    assert np.isfinite(found[4])
    assert np.isnan(found[[0, 1, 5]]).all()
