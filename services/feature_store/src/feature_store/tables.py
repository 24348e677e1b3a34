"""The history as Delta tables: appends are idempotent, because each commit names the log offsets that it holds.

The Delta transaction id of `<topic>/<partition>` is the offset after its last row, in the same atomic commit as the rows.
Whoever starts reads it and goes on from there; a writer that lost its partition is refused by Delta's own conflict check.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import DeltaError

from feature_store.rows import PARTITIONED_BY, SCHEMAS

NAMES: Final = {topic: topic.split(".")[0] for topic in SCHEMAS}
# Offsets of a partition are forgotten by Delta after this unless they move: longer than any topic keeps its records.
KEPT: Final = timedelta(days=3650)


class Tables:
    """The three tables below one URL. Synchronous: call it from a thread."""

    def __init__(self, url: str) -> None:
        split = urlsplit(url)
        self._root = unquote(split.path) if split.scheme == "file" else url
        for topic in SCHEMAS:
            self._create(topic)

    def position(self, topic: str, partition: int) -> int:
        """The offset after the last row of the partition that is stored; 0 where nothing is."""
        return int(self._table(topic).transaction_version(f"{topic}/{partition}") or 0)

    def append(self, topic: str, rows: pa.Table, positions: Mapping[int, int]) -> None:
        """The rows are stored, and with them the positions of their partitions; or neither. Raises DeltaError."""
        marks = [Transaction(f"{topic}/{partition}", end) for partition, end in sorted(positions.items())]
        write_deltalake(
            self._uri(topic),
            rows,
            mode="append",
            commit_properties=CommitProperties(app_transactions=marks, max_commit_retries=3),
        )

    def versions(self) -> dict[str, int]:
        """The version of each table, by its name."""
        return {NAMES[topic]: self._table(topic).version() for topic in SCHEMAS}

    def rows(
        self, topic: str, version: int, where: ds.Expression | None = None, columns: list[str] | None = None
    ) -> pa.Table:
        """The rows of a table as they were at a version."""
        table = DeltaTable(self._uri(topic), version=version)
        return table.to_pyarrow_dataset().to_table(filter=where, columns=columns)

    def find(self, topic: str, column: str, value: str) -> list[dict[str, Any]]:
        """The rows whose column has the value, in log order."""
        found = self.rows(topic, self._table(topic).version(), ds.field(column) == value)
        return found.sort_by([("partition", "ascending"), ("offset", "ascending")]).to_pylist()  # type: ignore[no-any-return]

    def _create(self, topic: str) -> None:
        try:
            DeltaTable.create(
                self._uri(topic), SCHEMAS[topic], mode="ignore", partition_by=[PARTITIONED_BY[topic]],
                configuration={"delta.setTransactionRetentionDuration": f"interval {KEPT.days} days"},
            )  # fmt: skip
        except DeltaError:
            # Two instances that start together both create it; the second finds the first one's.
            if not DeltaTable.is_deltatable(self._uri(topic)):
                raise

    def _table(self, topic: str) -> DeltaTable:
        return DeltaTable(self._uri(topic))

    def _uri(self, topic: str) -> str:
        return f"{self._root.rstrip('/')}/{NAMES[topic]}"
