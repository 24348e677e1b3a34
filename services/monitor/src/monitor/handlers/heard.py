"""From the words of the wire to the domain's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import numpy as np

from driftloop_bus.batches import OutcomeBatch, PredictionBatch
from driftloop_contracts import AnyEvent, Cause, Event
from driftloop_contracts.control_plane import DeploymentChanged, LossToHold, ModelDeclared, ServedVersion
from driftloop_contracts.documents import ModelDeclaration, duration
from driftloop_detect.calendar import Window
from monitor.domain.deploy import Challenger, Champion, Deployment
from monitor.domain.link import Link
from monitor.domain.losses import IntArray
from monitor.domain.rows import BETWEEN
from monitor.domain.rules import Rules
from monitor.ports import OutcomeRows, PredictionRows

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US: Final = timedelta(microseconds=1)
HISTORY: Final = "history"
B = TypeVar("B", PredictionBatch, OutcomeBatch)


def us_of(moment: datetime) -> int:
    """Microseconds since the epoch."""
    return (moment - EPOCH) // _US


def moment_of(us: int) -> datetime:
    """The moment of these microseconds, UTC."""
    return EPOCH + us * _US


def link(event: AnyEvent) -> Link:
    """The event, as a cause that is remembered."""
    return Link(event.id, us_of(event.time), event.correlation or event.id, event.tenant)


def cause_of(link: Link) -> Cause:
    """What was remembered, as a cause."""
    return Cause(link.id, moment_of(link.time_us), link.correlation, link.tenant)


def rules_of(document: ModelDeclaration) -> Rules:
    """What the declaration asks of the monitor."""
    trigger, retrain, gate = document.monitor.trigger, document.retrain, document.gate
    return Rules(
        features={name: feature.type for name, feature in document.features.items()},
        kept=tuple(dict.fromkeys([*document.segments, *gate.slices])),
        trigger_loss=trigger.loss,
        gate_loss=document.outcome.loss,
        window_us=_length(trigger.window),
        closes=trigger.closes,
        min_outcomes=trigger.min_outcomes,
        delta=trigger.delta,
        threshold=trigger.threshold,
        expected_us=_length(document.outcome.expected_within),
        fresh_outcomes=retrain.fresh_outcomes,
        train_window_us=None if retrain.window == "all" else _length(retrain.window),
        cooldown_us=_length(retrain.cooldown),
        max_per_day=retrain.max_per_day,
        also_every_us=_length(retrain.also_every) if retrain.also_every else None,
        margin=gate.must_beat_incumbent_by,
        floors=tuple(gate.floors),
        slices=tuple(gate.slices),
        unit_us=_length(document.rollout.unit),
        segment=document.segments[0] if document.segments else None,
        max_age_us={f.view: _length(f.max_age) for f in document.features.values() if f.view and f.max_age},
    )


def declared_rules(event: Event[ModelDeclared]) -> Rules:
    """What the declaration in this event asks of the monitor."""
    return rules_of(event.data.document)


def deployment_of(event: Event[DeploymentChanged], rules: Rules) -> Deployment:
    """The deployment in this event; a back-test in another loss than the trigger's is none."""
    data = event.data
    newest = data.challengers[-1] if data.challengers else None
    return Deployment(
        revision=data.revision,
        by=link(event),
        champion=_champion(data.champion, rules) if data.champion else None,
        challenger=Challenger(newest.version, us_of(newest.since), tuple(us_of(look) for look in newest.looks))
        if newest
        else None,
        previous=(data.previous.version, us_of(data.previous.shadow_until)) if data.previous else None,
        frozen=data.frozen,
    )


def without_history(batch: B) -> B:
    """The rows that are not loaded from before Driftloop: the others neither join nor move a clock."""
    return only(batch, [row for row, variant in enumerate(batch.variants) if variant != HISTORY])


def only(batch: B, rows: Sequence[int]) -> B:
    """These rows of the batch; the batch itself where they are all, which spares a copy of every column."""
    return batch if len(rows) == len(batch) else batch.take(np.array(rows, dtype=np.int64))


def prediction_rows(batch: PredictionBatch, arrived_us: IntArray, kept: tuple[str, ...]) -> PredictionRows:
    """The batch as columns to keep."""
    return PredictionRows(
        batch.streams, batch.prediction_ids, [version or "" for version in batch.versions], batch.variants,
        batch.times, arrived_us, batch.scores, batch.entities, _slices(batch, kept),
    )  # fmt: skip


def outcome_rows(batch: OutcomeBatch, arrived_us: IntArray) -> OutcomeRows:
    """The batch as columns to keep."""
    return OutcomeRows(
        batch.streams, batch.event_ids, batch.prediction_ids, batch.entities, batch.prediction_times, batch.times,
        arrived_us, batch.values, batch.revisions.tolist(),
    )  # fmt: skip


def _champion(served: ServedVersion, rules: Rules) -> Champion:
    return Champion(
        served.version, us_of(served.since), windows_of(served.loss_to_hold, rules.trigger_loss), served.reference_digest
    )  # fmt: skip


def windows_of(held: LossToHold | None, loss: str) -> tuple[Window, ...]:
    """The back-test's windows, where they are in this loss."""
    if held is None or held.loss != loss:
        return ()
    return tuple(Window(us_of(window.close), window.mean, window.n) for window in held.windows)


def _slices(batch: PredictionBatch, kept: tuple[str, ...]) -> list[str]:
    columns = [(name, batch.features[name]) for name in kept if name in batch.features]
    if not columns:
        return [""] * len(batch)
    labelled = [[f"{name}={value}" for value in column.tolist()] for name, column in columns]
    return [BETWEEN.join(row) for row in zip(*labelled, strict=True)]


def _length(text: str) -> int:
    return duration(text) // _US
