"""The history as Delta tables: appends are idempotent, because each commit names the log offsets that it holds.

The Delta transaction id of `<topic>/<partition>` is the offset after its last row, in the same atomic commit as the rows.
Whoever starts reads it and goes on from there; a writer that lost its partition is refused, by the position that it
thought it stood at or by Delta's own conflict check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import DeltaError

from driftloop_bus.errors import Fenced, TryAgain
from feature_store.rows import BUCKET, LAID_OUT_BY, SCHEMAS, bucket_of, with_bucket

NAMES: Final = {topic: topic.split(".")[0] for topic in SCHEMAS}
# Offsets of a partition are forgotten by Delta after this unless they move: longer than any topic keeps its records.
KEPT: Final = timedelta(days=3650)
# Whoever looks a table up reads the commits since its last checkpoint, each in a thread of its own.
CHECKPOINT_EACH: Final = 10
# A table that stays open keeps 40 KB of each commit that it has seen; opened anew it is a few KB a file.
LOOKS_OPEN: Final = 20
Moved = Mapping[int, tuple[int, int]]
"""Per partition the offset that the rows start at, and the one after them."""
T = TypeVar("T")


class Tables:
    """The three tables below one URL. Synchronous: call it from a thread. Raises TryAgain while the store is away."""

    def __init__(self, url: str) -> None:
        """Nothing is opened yet."""
        split = urlsplit(url)
        self._root = unquote(split.path) if split.scheme == "file" else url
        self._open: dict[str, tuple[DeltaTable, int]] = {}
        """With how often it was looked at."""

    def position(self, topic: str, partition: int) -> int:
        """The offset after the last row of the partition that is stored; 0 where nothing is."""
        return self._asked(lambda: int(self._newest(topic).transaction_version(f"{topic}/{partition}") or 0))

    def append(self, topic: str, rows: pa.Table, moved: Moved) -> None:
        """The rows are stored, and with them the positions of their partitions; or neither.

        Raises Fenced when a partition is not where the rows start: somebody else has appended to it.
        """
        self._asked(lambda: self._append(topic, rows, moved))

    def versions(self) -> dict[str, int]:
        """The version of each table, by its name."""
        return self._asked(lambda: {NAMES[topic]: self._newest(topic).version() for topic in SCHEMAS})

    def rows(
        self,
        topic: str,
        version: int,
        where: pc.Expression | None = None,
        columns: list[str] | None = None,
        *,
        of: str | None = None,
    ) -> pa.Table:
        """The rows of a table as they were at a version; of: those of one model or view, found without reading all others."""
        table = self._asked(lambda: DeltaTable(self._uri(topic), version=version))
        if of is not None:
            mine = pc.field(LAID_OUT_BY[topic]) == of
            mine = mine & (pc.field(BUCKET.name) == bucket_of(of)) if _has_buckets(table) else mine
            where = mine if where is None else mine & where
        # Only here pyarrow.dataset is loaded, and with it pandas: who only writes needs neither.
        names = columns or SCHEMAS[topic].names
        return self._asked(lambda: table.to_pyarrow_dataset().to_table(filter=where, columns=names))

    def find(self, topic: str, column: str, value: str) -> list[dict[str, Any]]:
        """The rows whose column has the value, in log order."""
        version = self._asked(lambda: self._newest(topic).version())
        found = self.rows(topic, version, pc.field(column) == value)
        in_order = found.sort_by([("partition", "ascending"), ("offset", "ascending"), ("row", "ascending")])
        return in_order.to_pylist()  # type: ignore[no-any-return]  # rows are dicts

    def _append(self, topic: str, rows: pa.Table, moved: Moved) -> None:
        table = self._newest(topic)
        for partition, (start, _) in moved.items():
            stands = int(table.transaction_version(f"{topic}/{partition}") or 0)
            if stands != start:
                raise Fenced(f"{topic}/{partition} of the history stands at {stands}, the rows start at {start}")
        marks = [Transaction(f"{topic}/{partition}", end) for partition, (_, end) in sorted(moved.items())]
        rows = with_bucket(topic, rows) if _has_buckets(table) else rows
        # Written against the snapshot that was just looked at: a commit of the same partition in between is a conflict.
        write_deltalake(table, rows, mode="append", commit_properties=CommitProperties(app_transactions=marks))
        # The rows' memory is the machine's again, and not kept for rows of other sizes.
        pa.default_memory_pool().release_unused()

    def _newest(self, topic: str) -> DeltaTable:
        table, looks = self._open.get(topic, (None, LOOKS_OPEN))
        if table is None or looks >= LOOKS_OPEN:
            table, looks = self._created(topic), 0
        else:
            table.update_incremental()
        self._open[topic] = table, looks + 1
        return table

    def _created(self, topic: str) -> DeltaTable:
        if DeltaTable.is_deltatable(self._uri(topic)):
            return DeltaTable(self._uri(topic))
        return DeltaTable.create(
            self._uri(topic), SCHEMAS[topic].append(BUCKET), mode="ignore", partition_by=[BUCKET.name],
            configuration={
                "delta.setTransactionRetentionDuration": f"interval {KEPT.days} days",
                "delta.checkpointInterval": str(CHECKPOINT_EACH),
            },
        )  # fmt: skip

    def _asked(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except (DeltaError, OSError) as error:
            raise TryAgain(f"the history in {self._root}: {str(error).splitlines()[0]}") from error

    def _uri(self, topic: str) -> str:
        return f"{self._root.rstrip('/')}/{NAMES[topic]}"


def _has_buckets(table: DeltaTable) -> bool:
    """Tables from before there were buckets keep their layout, a folder for each name."""
    return bool(table.metadata().partition_columns == [BUCKET.name])
