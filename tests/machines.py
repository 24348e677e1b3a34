"""Cores played through chance: from one seed come the steps, the faults and their order, and a failure is played again.

`DRIFTLOOP_SEED=7` plays that seed; `DRIFTLOOP_BLOB=...` plays the one example that Hypothesis printed; `DRIFTLOOP_STEPS=many`
plays a fifth of a million steps of each of the five cores, from a seed that nobody has seen yet.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Final, TypeVar

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

T = TypeVar("T")
STEPS_OF_AN_EXAMPLE: Final = 40
# Of each core: five of them are a million.
MANY: Final = 200_000
# What every change is played with: it must not depend on the day whether a change is good.
SEED: Final = 2013


class Played(RuleBasedStateMachine):
    """A machine with an event loop of its own, in which nothing waits for time."""

    steps: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """What it returns, at once."""
        self.steps[type(self).__name__] += 1
        return self._loop.run_until_complete(work)

    def teardown(self) -> None:
        """Nothing of this example runs any more."""
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


def play(machine: Callable[[], RuleBasedStateMachine], examples: int, *, shrink: bool = True) -> None:
    """So many examples hold, or as many as the environment asks for. A failure says how to play it again."""
    many = os.environ.get("DRIFTLOOP_STEPS")
    if many:
        examples = max(1, (MANY if many == "many" else int(many)) // STEPS_OF_AN_EXAMPLE)
    seed = int(os.environ.get("DRIFTLOOP_SEED") or (random.SystemRandom().getrandbits(32) if many else SEED))
    try:
        run_state_machine_as_test(_chosen(machine, seed), settings=_settings(examples, shrink))
    except BaseException as error:
        steps = f"DRIFTLOOP_STEPS={examples * STEPS_OF_AN_EXAMPLE} " if many else ""
        error.add_note(f"played again by: {steps}DRIFTLOOP_SEED={seed} python -m pytest, on this test")
        raise


def found(machine: Callable[[], RuleBasedStateMachine], examples: int) -> str:
    """The steps by which the machine finds a core wrong that is known to be. Raises AssertionError where it finds nothing."""
    try:
        play(machine, examples, shrink=False)
    except AssertionError as error:
        return "\n".join(error.__notes__)
    raise AssertionError("the defect was not found")


def _chosen(machine: Callable[[], RuleBasedStateMachine], seed: int) -> Any:
    def made() -> RuleBasedStateMachine:
        return machine()

    if blob := os.environ.get("DRIFTLOOP_BLOB"):
        return hypothesis.reproduce_failure(hypothesis.__version__, blob.encode())(made)
    return hypothesis.seed(seed)(made)


def _settings(examples: int, shrink: bool) -> settings:
    # No store of earlier failures: a seed alone says what is played.
    return settings(
        max_examples=examples, stateful_step_count=STEPS_OF_AN_EXAMPLE, deadline=None, database=None, print_blob=True,
        phases=[Phase.generate, *([Phase.shrink] if shrink else [])], suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )  # fmt: skip
