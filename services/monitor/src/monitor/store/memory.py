"""The same in memory, for tests and for whoever wants to see the monitor decide without a database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from driftloop_contracts import Event
from driftloop_contracts.control_plane import CommandGiven, DeploymentChanged
from monitor.domain.rows import Arrivals, Joined
from monitor.domain.state import ModelState
from monitor.ports import Coverage, Outcome, OutcomeRows, PredictionRows
from monitor.store.kept import outcome_keys, state_from_json, state_to_json

Store = dict[Any, Any]


@dataclass(frozen=True, slots=True)
class _Prediction:
    prediction_id: str
    version: str
    variant: str
    time_us: int
    arrived_us: int
    score: float
    entity: str | None
    slices: str


@dataclass(frozen=True, slots=True)
class _Outcome:
    key: str
    event_id: str
    entity: str | None
    prediction_us: int
    observed_us: int
    arrived_us: int
    value: float
    revision: int


@dataclass(frozen=True, slots=True)
class _Pair:
    prediction: _Prediction
    outcome: _Outcome

    @property
    def arrived_us(self) -> int:
        return max(self.prediction.arrived_us, self.outcome.arrived_us)


@dataclass(frozen=True, slots=True)
class MemoryRows:
    """See `ports.Rows`."""

    connection: Store

    async def add_predictions(self, model: str, rows: PredictionRows) -> int:
        """See `ports.Rows`."""
        table = self._table("prediction", model)
        before = len(table)
        columns = (
            rows.prediction_ids, rows.versions, rows.variants, rows.times_us.tolist(), rows.arrived_us.tolist(),
            rows.scores.tolist(), rows.entities, rows.slices,
        )  # fmt: skip
        for values in zip(*columns, strict=True):
            table.setdefault(values[:3], _Prediction(*values))
        return len(table) - before

    async def add_outcomes(self, model: str, rows: OutcomeRows) -> int:
        """See `ports.Rows`."""
        table, corrections = self._table("outcome", model), self._table("correction", model)
        before = len(table)
        columns = (
            outcome_keys(rows), rows.event_ids, rows.prediction_ids, rows.entities, rows.prediction_times_us.tolist(),
            rows.observed_us.tolist(), rows.arrived_us.tolist(), rows.values.tolist(), rows.revisions,
        )  # fmt: skip
        for key, event_id, prediction_id, entity, made_us, observed_us, arrived_us, value, revision in zip(
            *columns, strict=True
        ):
            by_entity = entity if prediction_id is None else None
            row = _Outcome(key, event_id, by_entity, made_us, observed_us, arrived_us, value, revision)
            table.setdefault(key, row)
            if revision > 0:
                corrections.setdefault((key, revision), row)
        return len(table) - before

    async def joined(self, model: str, versions: Sequence[str], after_us: int, until_us: int) -> Joined:
        """See `ports.Rows`."""
        found: dict[tuple[str, str], _Pair] = {}
        for pair in self._pairs(model, versions, after_us, until_us):
            key = (pair.prediction.prediction_id, pair.prediction.version)
            if key not in found or pair.prediction.variant < found[key].prediction.variant:
                found[key] = pair
        pairs = sorted(found.values(), key=lambda p: (p.arrived_us, p.prediction.prediction_id, p.prediction.version))
        return Joined(
            [p.prediction.prediction_id for p in pairs],
            [p.prediction.version for p in pairs],
            np.array([p.prediction.time_us for p in pairs], np.int64),
            np.array([p.arrived_us for p in pairs], np.int64),
            np.array([p.prediction.score for p in pairs], np.float64),
            np.array([self._value(model, p.outcome, until_us) for p in pairs], np.float64),
            [p.prediction.slices for p in pairs],
        )

    async def arrivals(self, model: str, after_us: int, until_us: int) -> Arrivals:
        """See `ports.Rows`."""
        rows = sorted(self._arrived(model, after_us, until_us), key=lambda o: (o.arrived_us, o.key))
        values = [self._value(model, row, until_us) for row in rows]
        return Arrivals(np.array([row.arrived_us for row in rows], np.int64), np.array(values, np.float64))

    async def nth_outcome(self, model: str, version: str, after_us: int, until_us: int, n: int) -> Outcome | None:
        """See `ports.Rows`."""
        pairs = sorted(
            self._pairs(model, [version], after_us, until_us),
            key=lambda p: (p.arrived_us, p.outcome.key, p.outcome.event_id),
        )
        if len(pairs) < n:
            return None
        pair = pairs[n - 1]
        return Outcome(pair.outcome.event_id, pair.outcome.observed_us, pair.arrived_us)

    async def last_outcome(self, model: str, after_us: int, until_us: int) -> Outcome | None:
        """See `ports.Rows`."""
        rows = self._arrived(model, after_us, until_us)
        last = max(rows, key=lambda o: (o.arrived_us, o.event_id), default=None)
        return Outcome(last.event_id, last.observed_us, last.arrived_us) if last else None

    async def next_arrival(self, model: str, after_us: int) -> int | None:
        """See `ports.Rows`."""
        outcomes = [o.arrived_us for o in self._table("outcome", model).values() if o.arrived_us > after_us]
        late = [
            p.arrived_us for p in self._table("prediction", model).values() if p.arrived_us > max(after_us, p.time_us)
        ]
        return min([*outcomes, *late], default=None)

    async def coverage(self, model: str, version: str, after_us: int, until_us: int, as_of_us: int) -> Coverage:
        """See `ports.Rows`."""
        due = [
            p
            for p in self._table("prediction", model).values()
            if p.version == version and after_us < p.time_us <= until_us
        ]
        known = [(p, self._outcome_of(model, p)) for p in due]
        delays = sorted(o.arrived_us - p.time_us for p, o in known if o and o.arrived_us <= as_of_us)
        return Coverage(len(due), len(delays), _quantile(delays, 0.5), _quantile(delays, 0.95))

    async def evict(self, model: str, unmatched_us: int, matched_us: int, as_of_us: int) -> dict[str, int]:
        """See `ports.Rows`."""
        predictions, outcomes = self._table("prediction", model), self._table("outcome", model)
        matched = [(p, self._outcome_of(model, p)) for p in predictions.values()]
        met = {o.key for p, o in matched if o and p.arrived_us <= as_of_us}
        alone = [p for p, o in matched if p.time_us <= unmatched_us and (o is None or o.arrived_us > as_of_us)]
        gone = {
            "predictions_without_outcome": _drop(predictions, {(p.prediction_id, p.version, p.variant) for p in alone}),
            "outcomes_without_prediction": _drop(
                outcomes, {o.key for o in outcomes.values() if o.key not in met and o.arrived_us <= unmatched_us}
            ),
            "predictions_judged": _drop(
                predictions,
                {
                    (p.prediction_id, p.version, p.variant)
                    for p, o in matched
                    if o and max(p.time_us, o.arrived_us) <= matched_us
                },
            ),
            "outcomes_judged": _drop(outcomes, {k for k, o in outcomes.items() if o.arrived_us <= matched_us}),
        }
        return {name: count for name, count in gone.items() if count}

    def _table(self, name: str, model: str) -> dict[Any, Any]:
        table: dict[Any, Any] = self.connection.setdefault(name, {}).setdefault(model, {})
        return table

    def _pairs(self, model: str, versions: Sequence[str], after_us: int, until_us: int) -> Iterator[_Pair]:
        for prediction in self._table("prediction", model).values():
            if prediction.version not in versions or prediction.arrived_us > until_us:
                continue
            outcome = self._outcome_of(model, prediction)
            if outcome and after_us < max(prediction.arrived_us, outcome.arrived_us) <= until_us:
                yield _Pair(prediction, outcome)

    def _outcome_of(self, model: str, prediction: _Prediction) -> _Outcome | None:
        table: Mapping[str, _Outcome] = self._table("outcome", model)
        by_id = table.get(prediction.prediction_id)
        return by_id if by_id else table.get(f"{prediction.entity}\x1f{prediction.time_us}")

    def _arrived(self, model: str, after_us: int, until_us: int) -> list[_Outcome]:
        return [o for o in self._table("outcome", model).values() if after_us < o.arrived_us <= until_us]

    def _value(self, model: str, outcome: _Outcome, until_us: int) -> float:
        later = [
            row
            for (key, revision), row in self._table("correction", model).items()
            if key == outcome.key and revision > outcome.revision and row.arrived_us <= until_us
        ]
        return float(max(later, key=lambda row: row.revision).value) if later else outcome.value


@dataclass(frozen=True, slots=True)
class MemoryStates:
    """See `ports.States`."""

    connection: Store

    async def lock(self, models: Sequence[str]) -> dict[str, ModelState]:
        """See `ports.States`."""
        table: dict[str, str] = self.connection.setdefault("model_state", {})
        return {model: state_from_json(table[model]) for model in sorted(models) if model in table}

    async def lock_or_make(self, model: str) -> ModelState:
        """See `ports.States`."""
        return (await self.lock([model])).get(model, ModelState(model))

    async def put(self, state: ModelState) -> None:
        """See `ports.States`."""
        self.connection.setdefault("model_state", {})[state.model] = state_to_json(state)


@dataclass(frozen=True, slots=True)
class MemoryDocuments:
    """See `ports.Documents`."""

    connection: Store

    async def deployment(self, model: str) -> Event[DeploymentChanged] | None:
        """See `ports.Documents`."""
        event: Event[DeploymentChanged] | None = self.connection.setdefault("deployment", {}).get(model)
        return event

    async def put_deployment(self, event: Event[DeploymentChanged]) -> None:
        """See `ports.Documents`."""
        self.connection.setdefault("deployment", {})[event.data.model] = event

    async def waiting_commands(self, model: str | None = None) -> list[Event[CommandGiven]]:
        """See `ports.Documents`."""
        waiting: dict[str, Event[CommandGiven]] = self.connection.setdefault("waiting_command", {})
        return [event for event in waiting.values() if model is None or event.data.model == model]

    async def put_command(self, event: Event[CommandGiven]) -> None:
        """See `ports.Documents`."""
        self.connection.setdefault("waiting_command", {}).setdefault(event.id, event)

    async def drop_command(self, event_id: str) -> None:
        """See `ports.Documents`."""
        self.connection.setdefault("waiting_command", {}).pop(event_id, None)


@dataclass(frozen=True, slots=True)
class MemoryPositions:
    """See `ports.Positions`: whatever the mapping says at that moment."""

    offsets: Mapping[tuple[str, int], int]

    async def read(self, topics: Sequence[str]) -> dict[tuple[str, int], int]:
        """See `ports.Positions`."""
        return {place: offset for place, offset in self.offsets.items() if place[0] in topics}


def _drop(table: dict[Any, Any], keys: set[Any]) -> int:
    for key in keys:
        del table[key]
    return len(keys)


def _quantile(ordered: list[int], share: float) -> int | None:
    """As Postgres' percentile_disc: the first value at which the share is reached."""
    if not ordered:
        return None
    return ordered[ceil(share * len(ordered)) - 1]
