"""The job behind a DatasetRequested: wait for the history, join, store by digest, describe."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pyarrow.compute as pc

from driftloop_artifacts import ArtifactStore, StoreUnavailable
from driftloop_bus.errors import TryAgain
from driftloop_contracts.documents import ModelDeclaration, duration
from driftloop_contracts.loop import DatasetBuilt, DatasetRequested
from driftloop_contracts.topics import OBSERVATIONS, OUTCOMES, PREDICTIONS
from driftloop_detect.calendar import Calendar
from driftloop_kit.jobs import JobFailed
from feature_store.columns import ColumnOdd
from feature_store.dataset import SOURCE_COLUMNS, Dataset, Sources, assemble, parquet, quality
from feature_store.domain import FromView, Wanted
from feature_store.history import History
from feature_store.tables import Tables

# Beyond this the history is behind for a reason that a person must see; the job is tried again.
COVER_DEADLINE_S: Final = 120.0
Ends = dict[tuple[str, int], int]
"""Per topic and partition the offset after the last row that counts."""


class Gathering:
    """Makes datasets."""

    def __init__(self, tables: Tables, history: History, artifacts: ArtifactStore) -> None:
        self._tables = tables
        self._history = history
        self._artifacts = artifacts

    async def run(
        self, request: DatasetRequested, declared: ModelDeclaration, declaration_digest: str, observations: Ends
    ) -> dict[str, Any]:
        """`DatasetBuilt` as JSON. Raises JobFailed when there are too few rows, TryAgain while a dependency is away.

        observations: what the request does not name, and the manifest does: how far views are looked up.
        """
        wanted = wanted_of(request, declared, observations)
        try:
            await asyncio.wait_for(self._history.cover(wanted.ends), COVER_DEADLINE_S)
        except TimeoutError as late:
            raise TryAgain(f"the history has not reached the offsets {wanted.ends} yet") from late
        versions = await asyncio.to_thread(self._tables.versions)
        try:
            dataset = await asyncio.to_thread(self._assembled, wanted, versions)
        except ColumnOdd as odd:
            raise JobFailed(str(odd), "dataset") from odd
        if len(dataset.rows) < max(1, request.window.min_rows):
            raise JobFailed(too_few(dataset, request), "dataset")
        data = await asyncio.to_thread(parquet, dataset.rows)
        try:
            digest = await self._artifacts.put(data)
        except StoreUnavailable as away:
            raise TryAgain(str(away)) from away
        built = described(request, dataset, versions, declaration_digest, wanted, digest, len(data))
        return built.model_dump(mode="json")

    def _assembled(self, wanted: Wanted, versions: dict[str, int]) -> Dataset:
        views = {source.view for source in wanted.from_views.values()}
        return assemble(
            Sources(
                self._of_model(PREDICTIONS.name, wanted, versions["predictions"]),
                self._of_model(OUTCOMES.name, wanted, versions["outcomes"]),
                {view: self._observations(view, wanted, versions["observations"]) for view in sorted(views)},
            ),
            wanted,
        )

    def _of_model(self, topic: str, wanted: Wanted, version: int) -> Any:
        return self._tables.rows(topic, version, columns=SOURCE_COLUMNS[topic], of=wanted.model)

    def _observations(self, view: str, wanted: Wanted, version: int) -> Any:
        """The view's readings before the pinned offsets: later ones would make another dataset of the same request."""
        pinned = [(p, end) for (topic, p), end in wanted.ends.items() if topic == OBSERVATIONS.name]
        inside = pc.scalar(False)
        for partition, end in pinned:
            inside = inside | ((pc.field("partition") == partition) & (pc.field("offset") < end))
        found = self._tables.rows(OBSERVATIONS.name, version, inside, SOURCE_COLUMNS[OBSERVATIONS.name], of=view)
        return found.sort_by([("partition", "ascending"), ("offset", "ascending"), ("row", "ascending")])


def wanted_of(request: DatasetRequested, declared: ModelDeclaration, observations: Ends) -> Wanted:
    """The request in the words of the domain."""
    ends = {(part.topic, part.partition): part.end for part in request.window.offsets}
    ends |= observations
    since = request.window.since
    return Wanted(
        model=request.model,
        task=declared.task,
        features={name: declared.features[name].type for name in request.features},
        from_views={
            name: FromView(
                feature.view, str(feature.entity), feature.field or name,
                int(duration(feature.max_age).total_seconds() * 1e6) if feature.max_age else None, feature.on_stale,
            )
            for name, feature in declared.features.items() if feature.view is not None
        },
        since_us=microseconds(since) if since else None,
        until_us=microseconds(request.window.until),
        ends=ends,
        max_rows=request.window.max_rows,
    )  # fmt: skip


def described(
    request: DatasetRequested, dataset: Dataset, versions: dict[str, int], declaration_digest: str, wanted: Wanted,
    digest: str, size_bytes: int,
) -> DatasetBuilt:  # fmt: skip
    """The dataset with its manifest: enough to make it again."""
    rows = dataset.rows
    return DatasetBuilt.model_validate(
        {
            "model": request.model,
            "request_id": request.request_id,
            "digest": digest,
            "size_bytes": size_bytes,
            "manifest": {
                "table_versions": versions,
                "offsets": [
                    {"topic": topic, "partition": partition, "start": 0, "end": end}
                    for (topic, partition), end in sorted(wanted.ends.items())
                ],
                "declaration_digest": declaration_digest,
                "rows": len(rows),
                "label_coverage": dataset.answered / max(1, dataset.asked),
                "columns": {name: str(rows.schema.field(name).type) for name in rows.column_names},
                "until": request.window.until,
                "boundary": boundary(request, pc.max(rows["outcome_time"]).as_py()),
            },
            "quality": quality(rows, list(wanted.features)),
        }
    )


def boundary(request: DatasetRequested, newest: datetime) -> datetime:
    """Where the back-test begins: so many whole windows before the newest outcome."""
    length = duration(request.split.holdout_window)
    calendar = Calendar.of(length, request.split.closes)
    last_us = calendar.last_closed(microseconds(min(request.window.until, newest)))
    last = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=last_us)
    return last - request.split.holdout_windows * length


def too_few(dataset: Dataset, request: DatasetRequested) -> str:
    """Why there is no dataset, and what to do."""
    until = request.window.until.isoformat()
    return (
        f"{len(dataset.rows)} of {dataset.asked} predictions of {request.model} had an outcome by {until}; at least "
        f"{max(1, request.window.min_rows)} are needed: ask again with a later `until`, or load history first"
    )


def microseconds(moment: datetime) -> int:
    """Microseconds since the epoch, UTC."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
