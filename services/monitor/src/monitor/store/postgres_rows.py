"""Predictions and outcomes in Postgres: one write a batch, joined by SQL when a window closes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from monitor.domain.rows import Arrivals, Joined
from monitor.ports import Coverage, Outcome, OutcomeRows, PredictionRows
from monitor.store.kept import outcome_keys

Connection = Any
"""asyncpg's, within the transaction."""

_ADD_PREDICTIONS: Final = """
INSERT INTO prediction (model, stream, prediction_id, version, variant, time_us, arrived_us, score, entity, slices)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::float8[],
                         $9::text[], $10::text[])
ON CONFLICT DO NOTHING
"""
_ADD_OUTCOMES: Final = """
INSERT INTO outcome (model, stream, event_id, prediction_id, entity, prediction_us, observed_us, arrived_us, value, revision)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[],
                         $9::float8[], $10::integer[])
ON CONFLICT DO NOTHING
"""
_ADD_CORRECTIONS: Final = """
INSERT INTO correction (model, prediction_id, revision, arrived_us, value)
SELECT $1, * FROM unnest($2::text[], $3::integer[], $4::bigint[], $5::float8[]) ON CONFLICT DO NOTHING
"""
# Planned with the numbers at hand, each time: a plan that was kept since the tables were nearly empty reads all predictions
# for each outcome, a second a look, until somebody gathers statistics.
_PLAN_ANEW: Final = "SET LOCAL plan_cache_mode = force_custom_plan"
# OFFSET 0 keeps each half a loop over few rows with an index look-up inside: a plan that needs no statistics, since a
# table that was empty a minute ago has none, and a join by guess took ten seconds.
_PAIR: Final = """
SELECT p.prediction_id, p.version, p.variant, p.time_us, p.score, p.slices, o.prediction_id AS outcome_id, o.event_id,
       o.observed_us, o.value, o.revision, greatest(p.arrived_us, o.arrived_us) AS arrived_us
"""
_OF_OUTCOMES: Final = """
FROM outcome o CROSS JOIN LATERAL (
    SELECT * FROM prediction p WHERE p.model = $1 AND {match} AND p.version = ANY($2) AND p.arrived_us <= $4 OFFSET 0
) AS p
WHERE o.model = $1 AND o.arrived_us > $3 AND o.arrived_us <= $4 AND o.entity IS {entity}
"""
_OF_LATE_PREDICTIONS: Final = """
FROM prediction p CROSS JOIN LATERAL (
    SELECT * FROM outcome o WHERE o.model = $1 AND {match} AND o.arrived_us <= $3 AND o.entity IS {entity} OFFSET 0
) AS o
WHERE p.model = $1 AND p.arrived_us > p.time_us AND p.arrived_us > $3 AND p.arrived_us <= $4 AND p.version = ANY($2)
"""
_BY_ID: Final = {"match": "p.prediction_id = o.prediction_id", "entity": "NULL"}
_BY_ENTITY: Final = {"match": "p.time_us = o.prediction_us AND p.entity = o.entity", "entity": "NOT NULL"}
# A pair counts when its second half arrives: nearly always the outcome, else a prediction that came late.
_PAIRS: Final = " UNION ALL ".join(
    _PAIR + half.format(**by) for half in (_OF_OUTCOMES, _OF_LATE_PREDICTIONS) for by in (_BY_ID, _BY_ENTITY)
)
_JOINED: Final = f"""
SELECT prediction_id, version, time_us, pair.arrived_us, score, slices, coalesce(newest.value, pair.value) AS value
FROM (SELECT DISTINCT ON (prediction_id, version) * FROM ({_PAIRS}) AS every
      ORDER BY prediction_id, version, variant, arrived_us) AS pair
LEFT JOIN LATERAL (
    SELECT c.value FROM correction c
    WHERE c.model = $1 AND c.prediction_id = pair.outcome_id AND c.revision > pair.revision AND c.arrived_us <= $4
    ORDER BY c.revision DESC LIMIT 1
) AS newest ON true
ORDER BY pair.arrived_us, prediction_id COLLATE "C", version COLLATE "C"
"""
_NTH: Final = f"""
SELECT event_id, observed_us, arrived_us FROM ({_PAIRS}) AS pair
ORDER BY arrived_us, outcome_id COLLATE "C", event_id OFFSET $5 LIMIT 1
"""
_ARRIVALS: Final = """
SELECT o.arrived_us, coalesce(newest.value, o.value) AS value FROM outcome o
LEFT JOIN LATERAL (
    SELECT c.value FROM correction c
    WHERE c.model = o.model AND c.prediction_id = o.prediction_id AND c.revision > o.revision AND c.arrived_us <= $3
    ORDER BY c.revision DESC LIMIT 1
) AS newest ON true
WHERE o.model = $1 AND o.arrived_us > $2 AND o.arrived_us <= $3 ORDER BY o.arrived_us, o.prediction_id COLLATE "C"
"""
_LAST: Final = """
SELECT event_id, observed_us, arrived_us FROM outcome WHERE model = $1 AND arrived_us > $2 AND arrived_us <= $3
ORDER BY arrived_us DESC, event_id COLLATE "C" DESC LIMIT 1
"""
_NEXT: Final = """
SELECT least(
    (SELECT min(arrived_us) FROM outcome WHERE model = $1 AND arrived_us > $2),
    (SELECT min(arrived_us) FROM prediction WHERE model = $1 AND arrived_us > time_us AND arrived_us > $2)
)
"""
_OUTCOME_BY_ID: Final = "SELECT o.arrived_us FROM outcome o WHERE o.model = $1 AND o.prediction_id = p.prediction_id"
_OUTCOME_BY_ENTITY: Final = """
SELECT o.arrived_us FROM outcome o
WHERE o.model = $1 AND o.entity IS NOT NULL AND o.entity = p.entity AND o.prediction_us = p.time_us
"""
_COVERAGE: Final = f"""
SELECT count(*) AS predictions, count(delay) AS labelled,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY delay) AS p50, percentile_disc(0.95) WITHIN GROUP (ORDER BY delay) AS p95
FROM (
    SELECT CASE WHEN arrived_us <= $5 THEN arrived_us - time_us END AS delay FROM (
        SELECT p.time_us, coalesce(({_OUTCOME_BY_ID}), ({_OUTCOME_BY_ENTITY} LIMIT 1)) AS arrived_us
        FROM prediction p WHERE p.model = $1 AND p.version = $2 AND p.time_us > $3 AND p.time_us <= $4
    ) AS met
) AS due
"""
_EVICTIONS: Final = {
    "predictions_without_outcome": f"""
DELETE FROM prediction p WHERE model = $1 AND time_us <= $2
AND NOT EXISTS ({_OUTCOME_BY_ID} AND o.arrived_us <= $3)
AND NOT EXISTS ({_OUTCOME_BY_ENTITY} AND o.arrived_us <= $3)
""",
    "outcomes_without_prediction": """
DELETE FROM outcome o WHERE model = $1 AND arrived_us <= $2
AND NOT EXISTS (SELECT FROM prediction p WHERE p.model = $1 AND p.prediction_id = o.prediction_id
                AND p.arrived_us <= $3)
AND NOT EXISTS (SELECT FROM prediction p WHERE p.model = $1 AND p.time_us = o.prediction_us AND p.entity = o.entity
                AND p.arrived_us <= $3)
""",
    # With their outcomes, never before: an outcome left alone for a day would count as one without a prediction.
    "predictions_judged": f"""
DELETE FROM prediction p WHERE model = $1 AND time_us <= $2
AND coalesce(({_OUTCOME_BY_ID}), ({_OUTCOME_BY_ENTITY} LIMIT 1)) <= $2
""",
    "outcomes_judged": "DELETE FROM outcome WHERE model = $1 AND arrived_us <= $2",
    "corrections": "DELETE FROM correction WHERE model = $1 AND arrived_us <= $2",
}
_ALONE: Final = frozenset({"predictions_without_outcome", "outcomes_without_prediction"})


@dataclass(frozen=True, slots=True)
class PostgresRows:
    """See `ports.Rows`."""

    connection: Connection

    async def add_predictions(self, model: str, rows: PredictionRows) -> int:
        """See `ports.Rows`."""
        status = await self.connection.execute(
            _ADD_PREDICTIONS, model, rows.streams, rows.prediction_ids, rows.versions, rows.variants,
            rows.times_us.tolist(), rows.arrived_us.tolist(), rows.scores.tolist(), rows.entities, rows.slices,
        )  # fmt: skip
        return _count(status)

    async def add_outcomes(self, model: str, rows: OutcomeRows) -> int:
        """See `ports.Rows`."""
        keys = outcome_keys(rows)
        status = await self.connection.execute(
            _ADD_OUTCOMES, model, rows.streams, rows.event_ids, keys, _entities(rows), rows.prediction_times_us.tolist(),
            rows.observed_us.tolist(), rows.arrived_us.tolist(), rows.values.tolist(), rows.revisions,
        )  # fmt: skip
        await self._add_corrections(model, rows, keys)
        return _count(status)

    async def _add_corrections(self, model: str, rows: OutcomeRows, keys: list[str]) -> None:
        later = [row for row, revision in enumerate(rows.revisions) if revision > 0]
        if later:
            await self.connection.execute(
                _ADD_CORRECTIONS, model, [keys[i] for i in later], [rows.revisions[i] for i in later],
                rows.arrived_us[later].tolist(), rows.values[later].tolist(),
            )  # fmt: skip

    async def joined(self, model: str, versions: Sequence[str], after_us: int, until_us: int) -> Joined:
        """See `ports.Rows`."""
        await self.connection.execute(_PLAN_ANEW)
        rows = await self.connection.fetch(_JOINED, model, list(versions), after_us, until_us)
        columns = {name: [row[name] for row in rows] for name in _COLUMNS}
        return Joined(
            columns["prediction_id"], columns["version"], np.array(columns["time_us"], np.int64),
            np.array(columns["arrived_us"], np.int64), np.array(columns["score"], np.float64),
            np.array(columns["value"], np.float64), columns["slices"],
        )  # fmt: skip

    async def arrivals(self, model: str, after_us: int, until_us: int) -> Arrivals:
        """See `ports.Rows`."""
        rows = await self.connection.fetch(_ARRIVALS, model, after_us, until_us)
        return Arrivals(np.array([row[0] for row in rows], np.int64), np.array([row[1] for row in rows], np.float64))

    async def nth_outcome(self, model: str, version: str, after_us: int, until_us: int, n: int) -> Outcome | None:
        """See `ports.Rows`."""
        await self.connection.execute(_PLAN_ANEW)
        row = await self.connection.fetchrow(_NTH, model, [version], after_us, until_us, n - 1)
        return Outcome(*row) if row else None

    async def last_outcome(self, model: str, after_us: int, until_us: int) -> Outcome | None:
        """See `ports.Rows`."""
        row = await self.connection.fetchrow(_LAST, model, after_us, until_us)
        return Outcome(*row) if row else None

    async def next_arrival(self, model: str, after_us: int) -> int | None:
        """See `ports.Rows`."""
        arrival: int | None = await self.connection.fetchval(_NEXT, model, after_us)
        return arrival

    async def coverage(self, model: str, version: str, after_us: int, until_us: int, as_of_us: int) -> Coverage:
        """See `ports.Rows`."""
        await self.connection.execute(_PLAN_ANEW)
        row = await self.connection.fetchrow(_COVERAGE, model, version, after_us, until_us, as_of_us)
        return Coverage(row["predictions"], row["labelled"], row["p50"], row["p95"])

    async def evict(self, model: str, unmatched_us: int, matched_us: int, as_of_us: int) -> dict[str, int]:
        """See `ports.Rows`."""
        await self.connection.execute(_PLAN_ANEW)
        gone = {}
        for name, sql in _EVICTIONS.items():
            times = (unmatched_us, as_of_us) if name in _ALONE else (matched_us,)
            gone[name] = _count(await self.connection.execute(sql, model, *times))
        return {name: count for name, count in gone.items() if count}


_COLUMNS: Final = ("prediction_id", "version", "time_us", "arrived_us", "score", "value", "slices")


def _entities(rows: OutcomeRows) -> list[str | None]:
    """Only where the entity is what the outcome is known by."""
    return [
        entity if prediction_id is None else None
        for prediction_id, entity in zip(rows.prediction_ids, rows.entities, strict=True)
    ]


def _count(status: str) -> int:
    return int(status.rsplit(" ", 1)[-1])
