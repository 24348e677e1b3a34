"""Hears deployments, declarations and features; answers predictions. Every prediction is an event."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime

from driftloop_bus.errors import Refused
from driftloop_bus.ports import Outgoing
from driftloop_contracts import AnyEvent, Event, rfc3339
from driftloop_contracts.control_plane import DeploymentChanged, ModelDeclared, ModelRetired
from driftloop_contracts.data_plane import FeaturesUpdated
from serving.domain.features import Promise, faults, see, segment
from serving.domain.rollout import Loaded, Shown
from serving.ports import Counts, Models, Readings
from serving.records import Prediction, Recorder
from serving.scoring import Answer, Asked, Question, by_version, followed, followers, row_id, scored
from serving.wire import micros, moment, plan_of, promise_of, reading_of

Said = tuple[Asked, Answer, float]
"""A question, its answer, and how many ms that took."""


class Serving:
    """Lives as long as the process: its memory is a copy of three compacted topics and the models they name."""

    def __init__(
        self, models: Models, readings: Readings, counts: Counts, now: Callable[[], datetime], *, any_time: bool
    ) -> None:
        """any_time: whether a caller may say for which moment it asks; else it is always now."""
        self._models = models
        self._readings = readings
        self._counts = counts
        self._now = now
        self.any_time = any_time
        self._promises: dict[str, Promise] = {}

    async def on_deployment_changed(self, event: Event[DeploymentChanged]) -> list[AnyEvent]:
        """The deployment is shown once its champion is warm."""
        self._models.want(plan_of(event.data))
        return []

    async def on_model_declared(self, event: Event[ModelDeclared]) -> list[AnyEvent]:
        """Requests are checked by this declaration from now on."""
        self._promises[event.data.model] = promise_of(event.data.document)
        return []

    async def on_model_retired(self, event: Event[ModelRetired]) -> list[AnyEvent]:
        """The model is unknown."""
        self._promises.pop(event.data.model, None)
        return []

    async def on_features_updated(self, event: Event[FeaturesUpdated]) -> list[AnyEvent]:
        """The entity's newest values are the ones of the greatest (time, revision), in whatever order they come."""
        self._readings.put(event.data.view, event.data.entity, reading_of(event.data))
        return []

    def known(self, model: str) -> bool:
        """Whether it is declared, and not retired since."""
        return model in self._promises

    def promise(self, model: str) -> Promise:
        """What requests of the model must bring. Raises Refused (404, 503) where it has no declaration."""
        promise = self._promises.get(model)
        if promise is None and self._models.shown(model) is None:
            raise Refused(f"unknown model {model[:250]!r}", status=404)
        if promise is None:
            raise Refused(f"model {model!r} is deployed, its declaration is not here", status=503)
        return promise

    def loaded(self, model: str, request_id: str, version: str | None = None) -> tuple[Shown, Loaded]:
        """Who answers the request. Raises Refused (404 unknown, 503 not loaded)."""
        self.promise(model)
        shown = self._models.shown(model)
        if shown is None or shown.champion is None:
            why = "; ".join(self._models.errors(model).values()) or "no version of it is deployed"
            raise Refused(f"model {model!r} is not loaded: {why}", status=503)
        one = shown.answering(request_id) if version is None else shown.version(version)
        if one is None:
            raise Refused(f"unknown version {str(version)[:50]!r} of model {model!r}", status=404)
        return shown, one

    def ask(self, question: Question) -> Asked:
        """The question with its features filled as they were known at its time.

        Raises Refused: 404 unknown model, 503 not loaded, 403 a time that may not be chosen, 422 with every feature that
        is missing, unknown or of another type than declared.
        """
        started_s = time.perf_counter()
        promise = self.promise(question.model)
        shown, answering = self.loaded(question.model, question.id, question.version)
        self._check(question, promise)
        now_us = micros(self._now())
        times_us = [now_us if row.time is None else micros(row.time) for row in question.rows]
        seen = [
            see(promise, row.features, row.keys, self._readings.get, at_us)
            for row, at_us in zip(question.rows, times_us, strict=True)
        ]
        for one in seen:
            for _, why in one.set_aside:
                self._counts.add("view_feature_set_aside", question.model, why)
        return Asked(question, promise, shown, answering, seen, times_us, started_s)

    def predict(self, batch: Sequence[Asked]) -> tuple[list[Answer | Refused], list[Said]]:
        """An answer to each question, and what `events` tells of: one call a version for the whole batch."""
        answers: dict[int, Answer | Refused] = {}
        said: list[Said] = []
        for group in by_version(batch, lambda asked: [asked.answering]):
            for asked, answer in zip(group.asked, scored(group), strict=True):
                answers[id(asked)] = answer
                if isinstance(answer, Answer):
                    took_ms = (time.perf_counter() - asked.started_s) * 1e3
                    said.append((asked, answer, took_ms))
                    self._counts.predicted(asked.question.model, asked.variant, len(asked.seen), took_ms / 1e3)
        return [answers[id(asked)] for asked in batch], said

    def events(self, said: Sequence[Said]) -> list[Outgoing]:
        """An event for each row answered."""
        return [record for asked, answer, ms in said for record in self._records(asked, answer, asked.variant, ms)]

    def follow(self, batch: Sequence[Asked]) -> list[Outgoing]:
        """What the shadows say to the same rows. A shadow that fails is counted, and nobody else hears of it."""
        records: list[Outgoing] = []
        for group in by_version(batch, followers):
            started_s = time.perf_counter()
            answers = scored(group)
            took_ms = (time.perf_counter() - started_s) * 1e3 / max(1, len(answers))
            for asked, answer in zip(group.asked, answers, strict=True):
                if isinstance(answer, Answer):
                    records += self._records(asked, answer, "shadow", took_ms, followed(asked, group.version))
                    self._counts.predicted(asked.question.model, "shadow", len(asked.seen), took_ms / 1e3)
                else:
                    self._counts.add("shadow_errors", asked.question.model, group.version.version)
        return records

    def _check(self, question: Question, promise: Promise) -> None:
        if not self.any_time and any(row.time is not None for row in question.rows):
            raise Refused("`time` may be chosen in local mode only; leave it out, and it is now", status=403)
        for at, row in enumerate(question.rows):
            if found := faults(promise, row.features):
                where = f"row {at}: " if len(question.rows) > 1 else ""
                said = "; ".join(str(fault) for fault in found[:50])
                raise Refused(f"{where}{said}", status=422, features=[fault.feature for fault in found])

    def _records(
        self, asked: Asked, answer: Answer, variant: str, latency_ms: float, rows: Sequence[int] | None = None
    ) -> list[Outgoing]:
        """The event of each of these rows, of all by default."""
        recorder = Recorder(asked.question.model, answer.version, variant)
        served_at = rfc3339(self._now())
        chosen = range(len(asked.seen)) if rows is None else rows
        return [recorder.record(_prediction(asked, answer, at, latency_ms), served_at) for at in chosen]


def _prediction(asked: Asked, answer: Answer, at: int, latency_ms: float) -> Prediction:
    question, seen = asked.question, asked.seen[at]
    row = question.rows[at]
    return Prediction(
        id=row_id(question, at),
        time=moment(asked.times_us[at]),
        features=seen.values,
        score=answer.scores[at],
        prediction=answer.predictions[at],
        entity=row.entity,
        keys=row.keys,
        segment=segment(asked.promise, seen),
        latency_ms=latency_ms,
        feature_times={view: moment(time_us) for view, time_us in seen.feature_times_us.items()},
    )
