"""A place that is not armed does nothing; one that is does what it was told, when it was told."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from driftloop_bus.errors import TryAgain
from driftloop_bus.failpoints import KILLED, NAMES, Armed, arm, failpoint


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    arm("")


def test_nothing_happens_where_nothing_is_armed() -> None:
    arm("runner.before_commit=raise")
    for name in NAMES - {"runner.before_commit"}:
        failpoint(name)


def test_it_acts_at_the_hit_that_was_named_and_at_no_other() -> None:
    arm("relay.after_ack=drop_ack@2; runner.after_fetch=raise")
    failpoint("relay.after_ack")
    with pytest.raises(TryAgain, match="lost"):
        failpoint("relay.after_ack")
    failpoint("relay.after_ack")
    for _ in range(2):
        with pytest.raises(Armed):
            failpoint("runner.after_fetch")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("runner.nowhere=exit", "no failpoint 'runner.nowhere'; there are relay.after_ack"),
        ("runner.before_commit=explode", "no action 'explode'; there are drop_ack"),
        ("runner.before_commit", "not name=action"),
        ("runner.before_commit=exit@soon", "not name=action"),
    ],
)
def test_what_is_not_a_failpoint_is_refused_with_what_there_is(spec: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        arm(spec)


def test_exit_ends_the_process_as_a_power_cut_would() -> None:
    code = (
        "import atexit; atexit.register(print, 'tidied up'); "
        "from driftloop_bus.failpoints import arm, failpoint; arm('spool.after_frame=exit'); failpoint('spool.after_frame')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (KILLED, "")
    assert done.stderr == "failpoint spool.after_frame\n"


def test_a_process_that_stops_goes_on_when_it_is_told_to() -> None:
    code = (
        "from driftloop_bus.failpoints import arm, failpoint; arm('relay.before_send=stop'); "
        "failpoint('relay.before_send'); print('went on')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as one:
        assert one.stderr is not None
        assert one.stderr.readline() == "failpoint relay.before_send\n"
        # Also where it is not yet asleep: the signal to go on is kept until then.
        while one.poll() is None:
            one.send_signal(signal.SIGCONT)
        assert one.stdout is not None
        assert one.stdout.read() == "went on\n"
