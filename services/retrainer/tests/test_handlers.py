"""What the retrainer hears, and what follows: one request, one dataset, one training, one end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from services.retrainer.tests.world import (
    BOUNDARY,
    FEATURES,
    MODEL,
    UNTIL,
    built,
    declared,
    deployed,
    document,
    requested,
    unbuildable,
)

from driftloop_bus.codec import decode
from driftloop_bus.ports import Outgoing, Record
from driftloop_contracts import AnyEvent, Cause, Event
from driftloop_contracts.loop import CandidateTrained, DatasetRequested, TrainingFailed, TrainingStarted
from driftloop_kit.jobs import Done, Failed, Job
from retrainer.handlers import TRAINING, Retrainer
from retrainer.on_demand import repeated
from retrainer.store import MemoryRequests


class MemoryJobs:
    """A queue that only remembers."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}

    async def add(self, job_id: str, kind: str, payload: Any, cause: Cause | None = None) -> bool:
        if job_id in self.jobs:
            return False
        self.jobs[job_id] = Job(job_id, kind, payload, cause=cause)
        return True


class Bench:
    """A retrainer, and what its memory holds."""

    def __init__(self) -> None:
        self.requests, self.queue = MemoryRequests(), MemoryJobs()
        self.retrainer = Retrainer(self.requests, self.queue, repeated)

    async def asked(self, name: str = "request") -> Event[DatasetRequested]:
        """A request of a declared model has led to this."""
        await self.retrainer.on_model_declared(declared())
        again, wish = await self.retrainer.on_retrain_requested(requested(name))
        assert isinstance(again, Outgoing)
        assert isinstance(wish, Event)
        return wish

    async def training(self) -> Job:
        """A request has got as far as its training."""
        await self.retrainer.on_dataset_built(built(await self.asked()))
        [job] = self.queue.jobs.values()
        return job

    async def state(self, name: str = "request") -> str | None:
        found = await self.requests.get(f"{name} {MODEL}")
        return found[1] if found else None


def the(events: list[AnyEvent]) -> Any:
    """The data of the one event."""
    assert len(events) == 1
    return events[0].data


async def test_a_request_asks_for_its_rows_with_the_window_that_it_named() -> None:
    wish = await Bench().asked()
    assert wish.data.window == requested().data.window
    assert wish.data.features == list(FEATURES)
    assert (wish.data.split.holdout_window, wish.data.split.holdout_windows) == ("1d", 28)
    assert (wish.causation, wish.time) == (requested().id, UNTIL)


async def test_a_request_waits_for_its_declaration_and_then_goes_on() -> None:
    bench = Bench()
    await bench.retrainer.on_retrain_requested(requested("one"))
    await bench.retrainer.on_retrain_requested(requested("two"))
    wishes = await bench.retrainer.on_model_declared(declared())
    assert [wish.data.request_id for wish in wishes] == [requested("one").id, requested("two").id]
    assert await bench.retrainer.on_model_declared(declared()) == []


async def test_a_request_that_comes_twice_asks_once() -> None:
    bench = Bench()
    await bench.asked()
    assert await bench.retrainer.on_retrain_requested(requested()) == []


async def test_a_request_is_repeated_unchanged_on_the_topic_of_its_model() -> None:
    [again] = await Bench().retrainer.on_retrain_requested(requested())
    assert isinstance(again, Outgoing)
    assert (again.topic, again.key) == (f"retraining.{MODEL}.v1", MODEL.encode())
    assert decode(Record(again.topic, 0, 0, 0, again.key, again.value, again.headers)).data == requested().data
    assert dict(again.headers)["ce_id"] == requested().id.encode()


async def test_a_model_whose_name_is_too_long_for_a_topic_is_trained_all_the_same() -> None:
    assert await Bench().retrainer.on_retrain_requested(requested(model="m" * 250)) == []


async def test_rows_start_one_training_however_often_they_come() -> None:
    bench = Bench()
    wish = await bench.asked()
    for digest in ("a", "a", "b"):
        assert await bench.retrainer.on_dataset_built(built(wish, "sha256:" + digest * 64)) == []
    assert len(bench.queue.jobs) == 1
    assert await bench.state() == "training"


async def test_a_training_is_told_everything_it_needs() -> None:
    bench = Bench()
    await bench.retrainer.on_deployment_changed(deployed(2, "4"))
    job = await bench.training()
    made = document()
    assert job.kind == TRAINING
    assert job.payload["limits"] == {"timeout_s": 60.0, "memory_mb": 1024}
    training = job.payload["training"]
    assert training["features"] == FEATURES
    assert (training["entry"], training["params"], training["seed"]) == ("samples:linear", {"c": 1.0}, 7)
    assert (training["boundary"], training["window_s"]) == (BOUNDARY.isoformat(), timedelta(days=1).total_seconds())
    assert (training["gate_loss"], training["trigger_loss"]) == (made.outcome.loss, made.monitor.trigger.loss)
    assert (training["slices"], training["segment"]) == (["site"], "site")
    assert (training["incumbent_version"], training["incumbent_digest"]) == ("4", "sha256:4")


async def test_an_older_deployment_does_not_replace_the_incumbent_and_a_first_training_has_none() -> None:
    bench = Bench()
    first = (await bench.training()).payload["training"]
    assert (first["incumbent_version"], first["incumbent_digest"]) == (None, None)
    bench = Bench()
    await bench.retrainer.on_deployment_changed(deployed(2, "4"))
    await bench.retrainer.on_deployment_changed(deployed(1, "3"))
    assert (await bench.training()).payload["training"]["incumbent_version"] == "4"


async def test_rows_that_nobody_here_asked_for_start_nothing() -> None:
    bench = Bench()
    wish = await bench.asked()
    other = Bench()
    await other.retrainer.on_model_declared(declared())
    assert await other.retrainer.on_dataset_built(built(wish)) == []
    assert await other.retrainer.on_dataset_failed(unbuildable(wish)) == []
    assert other.queue.jobs == {}


async def test_without_rows_the_request_ends_with_their_reason() -> None:
    bench = Bench()
    failed = the(await bench.retrainer.on_dataset_failed(unbuildable(await bench.asked())))
    assert isinstance(failed, TrainingFailed)
    assert (failed.kind, failed.reason) == ("dataset", "0 outcomes by then")
    assert await bench.state() == "failed"


async def test_a_start_is_the_same_event_at_every_attempt() -> None:
    bench = Bench()
    job = await bench.training()
    [first] = await bench.retrainer.on_training_started(job)
    [again] = await bench.retrainer.on_training_started(Job(job.id, job.kind, job.payload, 2, job.cause))
    assert isinstance(first.data, TrainingStarted)
    assert first.id == again.id


async def test_a_candidate_is_told_at_the_time_of_its_request() -> None:
    bench = Bench()
    job = await bench.training()
    candidate = await bench.retrainer.on_training_ended(job, Done(result()))
    assert isinstance(the(candidate), CandidateTrained)
    assert candidate[0].time == UNTIL
    assert candidate[0].correlation == requested().id
    assert await bench.state() == "trained"


async def test_a_failure_is_told_with_its_kind_and_reason() -> None:
    bench = Bench()
    job = await bench.training()
    failed = the(await bench.retrainer.on_training_ended(job, Failed("train() raised KeyError", "raised")))
    assert (failed.kind, failed.reason, failed.attempt) == ("raised", "train() raised KeyError", 1)
    assert await bench.state() == "failed"


async def test_what_has_ended_stays_so() -> None:
    bench = Bench()
    wish = await bench.asked()
    await bench.retrainer.on_dataset_failed(unbuildable(wish))
    await bench.retrainer.on_dataset_built(built(wish))
    assert await bench.state() == "failed"
    assert bench.queue.jobs == {}


def result() -> dict[str, Any]:
    """A candidate as the executor brings it back."""
    backtest = {"loss_to_hold": {"loss": "brier", "n": 10, "mean": 0.2}}
    digests = {f"{name}_digest": "sha256:x" for name in ("artifact", "dataset", "code", "environment")}
    return digests | {
        "model": MODEL, "request_id": requested().id, "artifact_format": "f", "artifact_bytes": 1, "features": FEATURES,
        "seed": 7, "rows": 10, "gate_loss": "log_loss", "backtest": backtest, "cpu_s": 1.0,
    }  # fmt: skip
