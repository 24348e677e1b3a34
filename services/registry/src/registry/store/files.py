"""The manifest of clients' files in Postgres: a logical path leads to a digest."""

from typing import Any, Final

from registry.ports.tracking import File

_PUT: Final = """
INSERT INTO file (path, digest, size_bytes, stored_ms) VALUES ($1, $2, $3, $4)
ON CONFLICT (path) DO UPDATE SET digest = excluded.digest, size_bytes = excluded.size_bytes, stored_ms = excluded.stored_ms
"""
# '0' is the character after '/': the range is everything under the folder, by the index.
_UNDER: Final = "path >= $1 || '/' AND path < $1 || '0'"
_CHILDREN: Final = f"""
SELECT name, CASE WHEN bool_or(deeper) THEN NULL ELSE max(size_bytes) END AS size_bytes FROM (
    SELECT split_part(rest, '/', 1) AS name, position('/' IN rest) > 0 AS deeper, size_bytes
    FROM (SELECT substr(path, length($1) + 2) AS rest, size_bytes FROM file WHERE {_UNDER})
) GROUP BY name ORDER BY name COLLATE "C"
"""


class PostgresFiles:
    """Files in table `file`."""

    def __init__(self, connection: Any) -> None:
        self._db = connection

    async def put(self, path: str, digest: str, size_bytes: int, now_ms: int) -> None:
        await self._db.execute(_PUT, path, digest, size_bytes, now_ms)

    async def find(self, path: str) -> tuple[str, int] | None:
        row = await self._db.fetchrow("SELECT digest, size_bytes FROM file WHERE path = $1", path)
        return (row["digest"], row["size_bytes"]) if row else None

    async def children(self, folder: str) -> list[File]:
        return [File(*row) for row in await self._db.fetch(_CHILDREN, folder)]

    async def delete(self, path: str) -> int:
        rows = await self._db.fetch(f"DELETE FROM file WHERE path = $1 OR ({_UNDER}) RETURNING path", path)
        return len(rows)
