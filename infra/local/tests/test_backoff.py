"""A killed part is back at once; one that cannot start is tried ever less often, and status says so."""

from driftloop_local.backoff import DELAYS_S, WELL_AFTER_S, Restarts


def test_the_first_restart_comes_within_a_second() -> None:
    assert Restarts().died(ready_for_s=100).delay_s < 1


def test_a_part_that_never_gets_ready_waits_ever_longer_and_is_a_crash_loop() -> None:
    restarts, delays = Restarts(), []
    for _ in range(len(DELAYS_S) + 2):
        restarts = restarts.died(ready_for_s=0)
        delays.append(restarts.delay_s)
    assert delays == sorted(delays)
    assert delays[-1] == delays[-2] == DELAYS_S[-1]
    assert restarts.is_looping


def test_two_deaths_in_a_row_are_no_loop_yet() -> None:
    assert not Restarts().died(0).died(0).is_looping


def test_a_part_that_was_well_starts_anew_at_its_next_death() -> None:
    restarts = Restarts()
    for _ in range(5):
        restarts = restarts.died(ready_for_s=0)
    restarts = restarts.died(ready_for_s=WELL_AFTER_S)
    assert restarts.delay_s == DELAYS_S[0]
    assert not restarts.is_looping
    assert restarts.total == 6
