"""F2: whatever dies where, each event has its effects once; so it has when it comes five times, or out of order."""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from tests.faults import shuffling
from tests.faults.account import Account, told
from tests.faults.mortal import Mortal, recoveries_s
from tests.faults.noting import Place, a_place, first_of_each, sending, until_all_is_heard
from tests.faults.repeating import repeat
from tests.faults.report import Report
from tests.faults.results import size
from tests.faults.spooling import Asked, a_serving
from tests.faults.verdict import judge

from driftloop_bus.failpoints import NAMES
from driftloop_kit.testing import ServiceProcess
from driftloop_local.stack import LocalStack

pytestmark = [pytest.mark.faults, pytest.mark.stack]
SEED: Final = 5
FIRST_EFFECT_S: Final = 15.0
SPOOL: Final = "spool.after_frame"
WHOLE: Final = size() == "whole"
TIMES: Final = 50 if WHOLE else 3
# At the ninth hit each of the four partitions has gone on in this life, at the first none has. Never twice in a row: the third
# owner that gets nowhere suspects the record, rightly, and two deaths alone with one would convict it (`quarantine`).
HITS: Final = (9, 1)
# A hint comes once a second.
HINT_HITS: Final = (2, 1)
# Where the code around a place is made for it: an answer that is lost, a bug in what is handled.
BENT: Final = (
    "runner.after_inbox=drop_ack@3; runner.before_commit=raise@6; runner.after_commit=drop_ack@9; "
    "runner.after_hint=drop_ack@2; relay.before_send=raise@3; relay.after_ack=drop_ack@6; relay.after_mark=drop_ack@9"
)
STOPS: Final = ("runner.before_commit", "relay.after_ack", "runner.after_commit", "relay.before_send")
# Longer than Postgres lets a transaction idle: what was begun is undone, and done again.
STOPPED_S: Final = 7.0
OBSERVATIONS: Final = 20_000 if WHOLE else 4_000


def test_whoever_dies_wherever_each_event_has_its_effects_once(
    stack: LocalStack, kafka: str, service_database: Callable[[str], str], tmp_path: Path, report: Report
) -> None:
    began = time.monotonic()
    with Account(tmp_path / "account") as account:
        place, asked = a_place(stack, kafka, tmp_path), a_serving(kafka, account, tmp_path)
        with ended(place.noter), sending(kafka, account, "crashes"):
            deaths = {name: list(die(place, name)) for name in sorted(NAMES - {SPOOL})}
            bend(place)
        with ended(place.noter):
            repeats = repeat(place, account, random.Random(SEED), 500 if WHOLE else 50)
        with ended(asked.serving):
            spooled = list(die_asked(asked))
    tables = out_of_order(kafka, service_database("feature_store"), tmp_path)
    effects, predictions, relayed = place.effects(), asked.predictions(), place.relayed()
    lines = told(account.path)
    verdict = judge(lines, [effect for effect, _ in effects] + first_of_each([effect for effect, _ in predictions]))
    topic = judge([line for line in lines if line.client != "asker"], first_of_each(relayed))
    moments = recoveries_s(sorted(found(itertools.chain(*deaths.values()))), [t for _, t in effects])
    moments += recoveries_s(sorted(found(spooled)), sorted(t for _, t in predictions))
    died = TIMES * len(NAMES)
    report(
        "F2", verdict, seed=SEED, deaths=died,
        missed=died - len(found(itertools.chain(spooled, *deaths.values()))),
        first_effect_s=round(max(moments), 1), first_effect_p50_s=round(statistics.median(moments), 1),
        unmeasured=died - len(moments), repeats_sent=repeats,
        records_repeated=len(relayed) - len(first_of_each(relayed)) + len(predictions) - len(dict(predictions)),
        topic_faults=topic.lost + topic.dup + topic.phantom + topic.order_violations,
        tables_differ=len(tables) - 1, parked=place.parked(), hash=min(tables), took_s=round(time.monotonic() - began),
        bounds={"first_effect_s": FIRST_EFFECT_S, "missed": 0, "unmeasured": died // 2, "topic_faults": 0,
                "tables_differ": 0, "parked": 0},
    )  # fmt: skip


def die(place: Place, name: str) -> Iterator[float | None]:
    """The noter dies at this failpoint again and again, at the same place; when, or None where it did not come to it."""
    hits = HINT_HITS if name.endswith("hint") else HITS
    for turn in range(TIMES):
        hit = hits[turn % len(hits)]
        place.noter.live(f"{name}=exit@{hit}")
        yield place.noter.dead_at(name, hit)


def bend(place: Place) -> None:
    """Answers are lost, bugs raised, and it is stopped in the middle; each has been seen, and it goes on by itself."""
    with ended(place.noter):
        place.noter.live(BENT)
        place.noter.until(lambda: place.noter.has_acted(BENT), "at all of its failpoints")
    for name in STOPS if WHOLE else STOPS[:1]:
        with ended(place.noter):
            place.noter.live(f"{name}=stop@2")
            place.noter.until_it_stops()
            time.sleep(STOPPED_S)
            place.noter.process.send_signal(signal.SIGCONT)
            place.noter.until_ready()


def die_asked(asked: Asked) -> Iterator[float | None]:
    """Serving dies after the frame and before the answer, again and again; at the end it runs and has sent everything."""
    asked.serve()
    for turn in range(TIMES):
        asked.serving.live(f"{SPOOL}=exit@{turn % 3 + 1}")
        asked.until_it_serves()
        for _ in range(turn % 3 + 1):
            asked.ask()
        yield asked.serving.dead_at(SPOOL, turn % 3 + 1)
    asked.serving.live()
    asked.until_it_serves()
    asked.ask()
    asked.serving.until_page("/ready", lambda said: said["spool_pending"] == 0)


def out_of_order(kafka: str, url: str, folder: Path) -> set[str]:
    """The different hashes of four tables that should be one: in order and shuffled, stored and as readers have them."""
    views = (shuffling.IN_ORDER, shuffling.SHUFFLED)
    for view in views:
        asyncio.run(shuffling.send(kafka, shuffling.observations(view, OBSERVATIONS, random.Random(SEED))))
    store = Mortal("feature_store", kafka, folder, url, FEATURE_STORE_PROJECT="faults")
    with ended(store):
        store.live()
        until_all_is_heard(store)
    tables = [shuffling.table_of(url, view) for view in views] + [shuffling.told_of(kafka, view) for view in views]
    assert {len(table) for table in tables} == {shuffling.ENTITIES}
    return {shuffling.hash_of(table) for table in tables}


def found(moments: Iterator[float | None] | list[float | None]) -> list[float]:
    """Without those that did not come."""
    return [moment for moment in moments if moment is not None]


@contextmanager
def ended(service: ServiceProcess) -> Iterator[None]:
    """Its process, whichever it is by then, is gone when the block ends."""
    try:
        yield
    finally:
        service.kill()
