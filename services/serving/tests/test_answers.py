"""A question and its answer: who answers, what is said of it, and what nobody may see."""

import asyncio
import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from driftloop_bus.errors import Refused
from driftloop_contracts import derived_id
from serving.scoring import Question, Row
from serving.shelf import load_table_model
from serving.testing import DEADLINE_S, NOON, Bench, a_declaration, linear_model

ROW = {"wind": 3.0, "origin": "EWR"}


def asking(id: str = "p1", features: Mapping[str, Any] = ROW, **more: Any) -> Question:  # noqa: A002
    return Question("late", [Row(features, **more)], id)


async def a_served_model(bench: Bench, **parts: Any) -> None:
    await bench.declare(a_declaration())
    await bench.deploy(await bench.served("1", linear_model(1.0)), **parts)
    await bench.settled()


async def refused(bench: Bench, question: Question) -> Refused:
    with pytest.raises(Refused) as caught:
        await bench.ticks.predict(question)
    return caught.value


async def all_shadows_scored(bench: Bench) -> None:
    async with asyncio.timeout(DEADLINE_S):
        # The tick hands its rows over one turn after its answers.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await bench.ticks.shadows.drained()


async def test_an_answer_is_one_event_that_says_everything_about_it() -> None:
    async with Bench().open() as bench:
        await a_served_model(bench)
        at = NOON - timedelta(hours=2)
        said = await bench.ticks.predict(asking(entity="AA1", keys={"tailnum": "N1"}, time=at))
        (event,) = bench.spool.events
        score = 1 / (1 + np.exp(-1.3))
        assert (said.version, said.predictions, said.scores) == ("1", [True], [pytest.approx(score)])
        assert event.id == derived_id("p1", "late:1:champion")
        assert event.time == at
        data = event.data
        assert (data.prediction_id, data.model, data.version, data.variant) == ("p1", "late", "1", "champion")
        assert (data.features, data.entity, data.keys) == (ROW, "AA1", {"tailnum": "N1"})
        assert data.segment == {"origin": "EWR"}
        assert data.score == said.scores[0]
        assert data.prediction is True
        assert data.served_at == NOON
        assert data.latency_ms is not None
        assert 0 < data.latency_ms < 1000


async def test_without_a_time_it_is_now() -> None:
    async with Bench().open() as bench:
        await a_served_model(bench)
        await bench.ticks.predict(asking())
        assert bench.spool.events[0].time == NOON


async def test_a_repeated_id_gives_the_same_answer_and_no_second_event() -> None:
    async with Bench().open() as bench:
        await a_served_model(bench)
        first = await bench.ticks.predict(asking())
        both = await asyncio.gather(
            *(bench.ticks.predict(asking(features={"wind": 9.0, "origin": "JFK"})) for _ in "ab")
        )
        assert both == [first, first]
        assert len(bench.spool.events) == 1


async def test_only_the_newest_ids_are_remembered() -> None:
    async with Bench(remembered_rows=2).open() as bench:
        await a_served_model(bench)
        for one in ("p1", "p2", "p3", "p1"):
            await bench.ticks.predict(asking(one))
        assert [event.data.prediction_id for event in bench.spool.events] == ["p1", "p2", "p3", "p1"]
        # A consumer sees that the fourth is the first again: equal ids are one event.
        assert bench.spool.events[0].id == bench.spool.events[3].id


async def test_an_id_that_was_refused_may_be_asked_again() -> None:
    async with Bench().open() as bench:
        await bench.declare(a_declaration())
        assert (await refused(bench, asking())).status == 503
        await a_served_model(bench)
        bench.spool.broken = True
        assert (await refused(bench, asking())).status == 503
        bench.spool.broken = False
        assert (await bench.ticks.predict(asking())).version == "1"


async def test_two_models_may_be_asked_under_one_id() -> None:
    async with Bench().open() as bench:
        await a_served_model(bench)
        await bench.declare(a_declaration("other"))
        await bench.deploy(await bench.served("1", linear_model(2.0)), model="other")
        await bench.settled()
        await bench.ticks.predict(asking())
        await bench.ticks.predict(Question("other", [Row(ROW)], "p1"))
        assert len({event.id for event in bench.spool.events}) == 2


async def test_an_unknown_model_is_404_and_one_that_is_not_loaded_503_with_the_reason() -> None:
    async with Bench().open() as bench:
        unknown = await refused(bench, asking())
        assert (unknown.status, unknown.message) == (404, "unknown model 'late'")
        await bench.declare(a_declaration())
        assert "no version of it is deployed" in (await refused(bench, asking())).message


async def test_a_deployed_model_without_its_declaration_is_503() -> None:
    async with Bench().open() as bench:
        await bench.deploy(await bench.served("1", linear_model(1.0)))
        await bench.settled()
        assert (await refused(bench, asking())).status == 503


async def test_a_retired_model_is_unknown() -> None:
    async with Bench().open() as bench:
        await a_served_model(bench)
        await bench.retire("late")
        await bench.deploy(None)
        await bench.settled()
        assert (await refused(bench, asking())).status == 503
        assert bench.serving.known("late") is False


async def test_a_missing_feature_and_a_nan_are_422_by_name_and_make_no_event() -> None:
    async with Bench().open() as bench:
        await a_served_model(bench)
        missing = await refused(bench, asking(features={"wind": float("nan")}))
        assert missing.status == 422
        assert missing.message == (
            "wind: given a number that is not finite, declared number; origin: given nothing, declared category"
        )
        assert bench.spool.events == []


async def test_where_time_may_not_be_chosen_it_is_403() -> None:
    async with Bench().open() as bench:
        bench.serving.any_time = False
        await a_served_model(bench)
        assert (await refused(bench, asking(time=NOON))).status == 403
        assert (await bench.ticks.predict(asking())).version == "1"


async def test_views_fill_features_as_they_were_known_at_the_requests_time() -> None:
    features = {
        "origin": "category",
        "wind": {"type": "number", "view": "weather", "entity": "origin", "max_age": "4h"},
    }
    async with Bench().open() as bench:
        await bench.declare(a_declaration(features=features))
        await bench.deploy(await bench.served("1", linear_model(1.0)))
        await bench.settled()
        await bench.observe("weather", "EWR", {"wind": 20.0}, NOON)
        await bench.observe("weather", "EWR", {"wind": 10.0}, NOON - timedelta(hours=1))
        for name, at in (("now", NOON), ("before", NOON - timedelta(minutes=1)), ("late", NOON + timedelta(hours=5))):
            await bench.ticks.predict(asking(name, {"origin": "EWR"}, time=at))
        now, before, late = (event.data for event in bench.spool.events)
        assert (now.features["wind"], now.feature_times) == (20.0, {"weather": NOON})
        assert (before.features, before.feature_times) == ({"origin": "EWR"}, {})
        assert (late.features, late.feature_times) == ({"origin": "EWR"}, {})
        assert bench.tally.seen["view_feature_set_aside", "future"] == 1
        assert bench.tally.seen["view_feature_set_aside", "stale"] == 1


async def test_requests_of_one_tick_are_scored_in_one_call_and_kept_in_one_write() -> None:
    calls: list[int] = []

    def load(data: bytes) -> Any:
        return Watched(data, lambda columns: calls.append(len(columns["wind"])))

    async with Bench(load).open() as bench:
        await a_served_model(bench)
        calls.clear()
        emitted = bench.tally.seen["emitted", ""]
        said = await asyncio.gather(
            *(bench.ticks.predict(asking(f"p{n}", {"wind": n, "origin": "JFK"})) for n in range(16))
        )
        assert calls == [16]
        assert bench.tally.seen["emitted", ""] == emitted + 1
        assert [len(append) for append in bench.spool.appends] == [16]
        alone = [await bench.ticks.predict(asking(f"q{n}", {"wind": n, "origin": "JFK"})) for n in range(16)]
        assert [one.scores for one in said] == [one.scores for one in alone]


async def test_a_question_that_can_not_be_scored_refuses_itself_and_not_its_neighbours() -> None:
    def refuse_gales(columns: Mapping[str, Any]) -> None:
        if any(value == 99 for value in columns["wind"]):
            raise ValueError("no gales")

    async with Bench(lambda data: Watched(data, refuse_gales)).open() as bench:
        await a_served_model(bench)
        questions = [asking(f"p{n}", {"wind": 99 if n == 1 else n, "origin": "JFK"}) for n in range(3)]
        said = await asyncio.gather(*map(bench.ticks.predict, questions), return_exceptions=True)
        assert isinstance(said[1], Refused)
        assert said[1].status == 422
        assert [event.data.prediction_id for event in bench.spool.events] == ["p0", "p2"]


async def test_a_score_that_is_no_number_is_refused() -> None:
    class Broken(Watched):
        def score(self, columns: Mapping[str, Any]) -> Any:
            return super().score(columns) * (np.nan if columns["wind"] == [99] else 1.0)

    async with Bench(Broken).open() as bench:
        await a_served_model(bench)
        assert "not finite" in (await refused(bench, asking(features={"wind": 99, "origin": "JFK"}))).message


async def test_a_bug_in_a_tick_reaches_every_caller_instead_of_leaving_them_waiting() -> None:
    def bug(columns: Mapping[str, Any]) -> None:
        if columns["wind"] != [None]:
            raise KeyError("bug")

    async with Bench(lambda data: Watched(data, bug)).open() as bench:
        await a_served_model(bench)
        loop = asyncio.get_running_loop()
        seen: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda loop, context: seen.append(context))
        try:
            with pytest.raises(KeyError):
                await asyncio.wait_for(bench.ticks.predict(asking()), DEADLINE_S)
        finally:
            loop.set_exception_handler(None)
        assert len(seen) == 1


async def test_shadow_and_previous_score_the_same_row_under_the_same_id() -> None:
    async with Bench().open() as bench:
        challenger = await bench.served("2", linear_model(-1.0))
        previous = await bench.served("0", linear_model(0.5), shadow_until=NOON + timedelta(hours=1))
        await a_served_model(bench, challengers=[challenger], previous=previous)
        await bench.ticks.predict(asking(time=NOON))
        await bench.ticks.predict(asking("p2", time=NOON + timedelta(hours=1)))
        await all_shadows_scored(bench)
        shadows = [(one.prediction_id, one.version) for one in bench.spool.of("shadow")]
        assert sorted(shadows) == [("p1", "0"), ("p1", "2"), ("p2", "2")]
        one = next(event for event in bench.spool.events if event.data.version == "2")
        assert one.id == derived_id("p1", "late:2:shadow")
        assert (one.time, one.data.features) == (NOON, ROW)
        assert one.data.score == pytest.approx(1 / (1 + np.exp(0.7)))


async def test_a_slow_shadow_delays_no_answer() -> None:
    released = threading.Event()

    def load(data: bytes) -> Any:
        slow = data == SLOW
        return Watched(data, lambda columns: slow and columns["wind"] != [None] and released.wait(DEADLINE_S))

    async with Bench(load).open() as bench:
        await a_served_model(bench, challengers=[await bench.served("2", SLOW)])
        began = time.perf_counter()
        for n in range(20):
            await bench.ticks.predict(asking(f"p{n}"))
        assert len(bench.spool.of("champion")) == 20
        assert bench.spool.of("shadow") == []
        assert time.perf_counter() - began < DEADLINE_S
        released.set()
        await all_shadows_scored(bench)
        assert len(bench.spool.of("shadow")) == 20


SLOW = linear_model(-1.0)


async def test_a_failing_shadow_fails_nobody_and_is_counted() -> None:
    def fail(columns: Mapping[str, Any]) -> None:
        if columns["wind"] != [None]:
            raise ValueError("no")

    def load(data: bytes) -> Any:
        return Watched(data, fail) if data == SLOW else load_table_model(data)

    async with Bench(load).open() as bench:
        challengers = [await bench.served("2", SLOW), await bench.served("3", linear_model(3.0))]
        await a_served_model(bench, challengers=challengers)
        assert (await bench.ticks.predict(asking())).version == "1"
        await all_shadows_scored(bench)
        assert [one.version for one in bench.spool.of("shadow")] == ["3"]
        assert bench.tally.seen["shadow_errors", "2"] == 1


async def test_a_canary_answers_its_share_and_a_named_version_answers_alone() -> None:
    async with Bench().open() as bench:
        canary = {**await bench.served("2", linear_model(-1.0)), "mode": "canary", "share": 1.0}
        await a_served_model(bench, challengers=[canary])
        assert (await bench.ticks.predict(asking())).version == "2"
        assert bench.spool.events[0].data.variant == "challenger"
        named = Question("late", [Row(ROW)], "p2", version="1")
        assert (await bench.ticks.predict(named)).version == "1"
        assert (await refused(bench, Question("late", [Row(ROW)], "p3", version="9"))).status == 404


async def test_a_caller_that_hangs_up_does_not_take_the_answer_from_its_repeat() -> None:
    async with Bench().open() as bench:
        await a_served_model(bench)
        gone = asyncio.create_task(bench.ticks.predict(asking()))
        await asyncio.sleep(0)
        gone.cancel()
        assert (await bench.ticks.predict(asking())).version == "1"
        assert len(bench.spool.events) == 1


class Watched:
    """A real model that tells before it scores."""

    def __init__(self, data: bytes, told: Any = lambda columns: None) -> None:
        self._model = load_table_model(data)
        self._told = told
        self.features, self.task, self.classes = self._model.features, self._model.task, self._model.classes
        self.decide = self._model.decide

    def score(self, columns: Mapping[str, Any]) -> Any:
        self._told(columns)
        return self._model.score(columns)
