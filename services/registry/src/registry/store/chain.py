"""Every control event, and the audit, in Postgres."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from registry.ports import Link, Sealed
from registry.store.detected import DETECTED

_COLUMNS: Final = "id, causation, correlation, time, type, topic, model, incident, data"
_KEEP: Final = f"""
INSERT INTO chain ({_COLUMNS})
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::json[])
ON CONFLICT (id) DO NOTHING
"""
# A chain of one decision has some twenty links; the bound only stops what nobody foresaw.
_MAX_LINKS: Final = 1000
_WHY: Final = f"""
WITH RECURSIVE why AS (
    SELECT {_COLUMNS}, 0 AS depth FROM chain WHERE id = $1
  UNION ALL
    SELECT cause.*, why.depth + 1 FROM why CROSS JOIN LATERAL (
        (SELECT {_COLUMNS} FROM chain WHERE id = why.causation)
      UNION ALL
        (SELECT {_COLUMNS} FROM chain
         WHERE type = '{DETECTED}' AND incident = why.incident AND why.type <> '{DETECTED}'
           AND NOT EXISTS (SELECT FROM chain WHERE id = why.causation)
         ORDER BY time LIMIT 1)
    ) AS cause
    WHERE why.depth < {_MAX_LINKS}
) CYCLE id SET looped USING trail
SELECT {_COLUMNS} FROM why WHERE NOT looped ORDER BY depth
"""


class PostgresChain:
    """The chain in table `chain`."""

    def __init__(self, connection: Any) -> None:
        self._db = connection

    async def keep(self, links: Sequence[Link]) -> None:
        columns = zip(
            *((k.id, k.causation, k.correlation, k.time, k.type, k.topic, k.model, k.incident, k.data) for k in links),
            strict=True,
        )
        if links:
            await self._db.execute(_KEEP, *(list(column) for column in columns))

    async def find(self, id: str) -> Link | None:  # noqa: A002
        row = await self._db.fetchrow(f"SELECT {_COLUMNS} FROM chain WHERE id = $1", id)
        return Link(*row) if row else None

    async def why(self, id: str) -> list[Link]:  # noqa: A002
        return [Link(*row) for row in await self._db.fetch(_WHY, id)]

    async def log(self, model: str, limit: int, before: tuple[datetime, str] | None = None) -> list[Link]:
        if before is None:
            rows = await self._db.fetch(
                f"SELECT {_COLUMNS} FROM chain WHERE model = $1 ORDER BY time DESC, id DESC LIMIT $2", model, limit
            )
        else:
            rows = await self._db.fetch(
                f"SELECT {_COLUMNS} FROM chain WHERE model = $1 AND (time, id) < ($3, $4) "
                "ORDER BY time DESC, id DESC LIMIT $2",
                model, limit, *before,
            )  # fmt: skip
        return [Link(*row) for row in rows]


class PostgresAudit:
    """The audit in table `audit`."""

    def __init__(self, connection: Any) -> None:
        self._db = connection

    async def last(self, about: str) -> Sealed | None:
        await self._db.execute("SELECT pg_advisory_xact_lock(hashtextextended('audit:' || $1, 0))", about)
        row = await self._db.fetchrow(
            "SELECT sequence, digest FROM audit WHERE about = $1 ORDER BY sequence DESC LIMIT 1", about
        )
        return Sealed(row["sequence"], row["digest"]) if row else None

    async def seal(self, about: str, record: Sealed, *, event_id: str, text: str) -> None:
        await self._db.execute(
            "INSERT INTO audit (about, sequence, digest, event_id, record) VALUES ($1, $2, $3, $4, $5)",
            about, record.sequence, record.digest, event_id, text,
        )  # fmt: skip
