"""What tracking needs from outside: experiments, runs, logged models, and the manifest of their files.

Times are milliseconds since the epoch, as MLflow's clients send them. Nothing is seen by others before the commit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from registry.domain.search import Search

DEFAULT_EXPERIMENT = 0
"""It exists from the start."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """A named group of runs."""

    id: int
    name: str
    artifact_location: str
    created_ms: int
    updated_ms: int
    active: bool = True
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Point:
    """One value of one metric."""

    key: str
    value: float
    timestamp_ms: int
    step: int = 0
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None


@dataclass(frozen=True, slots=True)
class Input:
    """A dataset that a run read."""

    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None = None
    profile: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run without its data."""

    run_id: str
    experiment_id: int
    name: str
    user_id: str
    status: str
    start_ms: int | None
    end_ms: int | None
    active: bool
    artifact_root: str
    """URI of its experiment's files."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run with the latest value of each metric."""

    info: RunInfo
    metrics: Sequence[Point] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    inputs: Sequence[Input] = ()
    outputs: Sequence[tuple[str, int]] = ()
    """(logged model, step)."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one request adds to a run."""

    metrics: Sequence[Point] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """A model that a run logged."""

    model_id: str
    experiment_id: int
    name: str
    model_type: str
    source_run_id: str
    status: str
    created_ms: int
    updated_ms: int
    artifact_root: str
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[tuple[str, Point]] = ()
    """(run, its latest value)."""


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of an answer: the first `limit` rows after `offset`."""

    limit: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class File:
    """A file, or a folder when it has no size. `name` is relative to what was listed."""

    name: str
    size_bytes: int | None


class Experiments(Protocol):
    """Experiments and their tags."""

    async def create(
        self, name: str, artifact_location: str | None, tags: Mapping[str, str], now_ms: int
    ) -> int | None:
        """The number of a new experiment; None when the name is taken, also by a deleted one."""

    async def get(self, experiment_id: int) -> Experiment | None:
        """Also a deleted one."""

    async def named(self, name: str) -> Experiment | None:
        """Also a deleted one."""

    async def rename(self, experiment_id: int, name: str, now_ms: int) -> bool:
        """False when the name is taken."""

    async def set_active(self, experiment_id: int, active: bool, now_ms: int) -> None:
        """The experiment and all its runs are deleted, or all are there again."""

    async def set_tag(self, experiment_id: int, key: str, value: str, now_ms: int) -> None:
        """The tag has this value."""

    async def delete_tag(self, experiment_id: int, key: str, now_ms: int) -> bool:
        """False when there was none."""

    async def search(self, search: Search, active: bool | None, page: Page) -> list[Experiment]:
        """What matches, one more than the page where there is more."""


class Runs(Protocol):
    """Runs and what was logged to them."""

    async def create(self, info: RunInfo, tags: Mapping[str, str]) -> None:
        """The run is there."""

    async def info(self, run_id: str, *, lock: bool = False) -> RunInfo | None:
        """Also a deleted one. lock: nobody else changes the run before this transaction ends."""

    async def whole(self, run_ids: Sequence[str]) -> list[Run]:
        """These runs with their data, in this order; a fixed number of queries, however many runs."""

    async def update(self, run_id: str, *, status: str | None, end_ms: int | None, name: str | None) -> None:
        """What is given has changed."""

    async def set_active(self, run_id: str, active: bool) -> None:
        """The run is deleted, or there again."""

    async def params(self, run_id: str, keys: Sequence[str]) -> dict[str, str]:
        """What these were logged with before."""

    async def add(self, run_id: str, batch: Batch) -> None:
        """All of it is logged. Equal points are one; of tags the last value holds."""

    async def delete_tag(self, run_id: str, key: str) -> bool:
        """False when there was none."""

    async def add_inputs(self, run_id: str, inputs: Sequence[Input]) -> None:
        """The run read them."""

    async def add_outputs(self, run_id: str, outputs: Sequence[tuple[str, int]]) -> None:
        """The run logged these models."""

    async def history(self, run_id: str, key: str, page: Page) -> list[Point]:
        """All values by (timestamp, step, value), one more than the page where there is more."""

    async def search(self, experiment_ids: Sequence[int], search: Search, active: bool | None, page: Page) -> list[str]:
        """Ids of what matches, one more than the page where there is more."""


class LoggedModels(Protocol):
    """Models that runs logged."""

    async def create(self, model: LoggedModel) -> None:
        """It is there, pending."""

    async def get(self, model_id: str) -> LoggedModel | None:
        """Not a deleted one."""

    async def set_status(self, model_id: str, status: str, now_ms: int) -> None:
        """It is ready, or failed."""

    async def set_tags(self, model_id: str, tags: Mapping[str, str]) -> None:
        """The tags have these values."""

    async def delete_tag(self, model_id: str, key: str) -> bool:
        """False when there was none."""

    async def add_params(self, model_id: str, params: Mapping[str, str]) -> None:
        """Those that are new are there."""

    async def delete(self, model_id: str) -> None:
        """It is found no more."""

    async def search(self, experiment_ids: Sequence[int], search: Search, page: Page) -> list[LoggedModel]:
        """What matches, one more than the page where there is more."""


class Files(Protocol):
    """Which bytes lie under a client's logical path. A path is a key of a row here, and reaches no disk."""

    async def put(self, path: str, digest: str, size_bytes: int, now_ms: int) -> None:
        """The path leads to these bytes."""

    async def find(self, path: str) -> tuple[str, int] | None:
        """Digest and size."""

    async def children(self, folder: str) -> list[File]:
        """What lies directly under it, by name."""

    async def delete(self, path: str) -> int:
        """The file, or everything under the folder, is found no more; how many files."""
