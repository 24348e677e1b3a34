"""What the handlers need from outside. Everything here is part of the handler's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from driftloop_contracts import Cause, Event
from driftloop_contracts.control_plane import CommandGiven, DeploymentChanged
from driftloop_detect.structural import StructuralWatch
from monitor.domain.blocks import Block
from monitor.domain.histograms import Bins, Counts
from monitor.domain.losses import FloatArray, IntArray
from monitor.domain.rows import Arrivals, Joined
from monitor.domain.rules import Rules
from monitor.domain.state import ModelState

Place = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True, slots=True)
class PredictionRows:
    """Predictions of one model, as columns of equal length, in log order."""

    streams: list[str]
    prediction_ids: list[str]
    versions: list[str]
    variants: list[str]
    times_us: IntArray
    arrived_us: IntArray
    scores: FloatArray
    entities: list[str | None]
    slices: list[str]


@dataclass(frozen=True, slots=True)
class OutcomeRows:
    """Outcomes of one model, as columns of equal length, in log order."""

    streams: list[str]
    event_ids: list[str]
    prediction_ids: list[str | None]
    entities: list[str | None]
    """Where there is no prediction id."""
    prediction_times_us: IntArray
    """Beside the entity."""
    observed_us: IntArray
    arrived_us: IntArray
    values: FloatArray
    revisions: list[int]


@dataclass(frozen=True, slots=True)
class Coverage:
    """Predictions that should have their outcome by now, and what became of them."""

    predictions: int
    labelled: int
    delay_p50_us: int | None
    delay_p95_us: int | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One outcome, as a cause."""

    event_id: str
    observed_us: int
    arrived_us: int


class Rows(Protocol):
    """Predictions and outcomes of a month, by event time. Ranges are (after, until]."""

    async def add_predictions(self, model: str, rows: PredictionRows) -> int:
        """They are there, once each by (prediction id, version, variant); how many were new."""

    async def add_outcomes(self, model: str, rows: OutcomeRows) -> int:
        """They are there. A higher revision takes the place of the value, never of the time of arrival; how many were new."""

    async def joined(self, model: str, versions: Sequence[str], after_us: int, until_us: int) -> Joined:
        """The pairs that these versions' predictions completed in this time, one a prediction and version.

        Values as corrected by revisions that arrived until then; in the order that `Joined` promises.
        """

    async def arrivals(self, model: str, after_us: int, until_us: int) -> Arrivals:
        """The outcomes that arrived in this time, whether or not their prediction is known."""

    async def nth_outcome(self, model: str, version: str, after_us: int, until_us: int, n: int) -> Outcome | None:
        """The n-th outcome, by (arrival, prediction id), of those with a prediction of the version; None while there are fewer."""

    async def last_outcome(self, model: str, after_us: int, until_us: int) -> Outcome | None:
        """The last outcome, by (arrival, event id)."""

    async def next_arrival(self, model: str, after_us: int) -> int | None:
        """When the next outcome or prediction after this time arrived."""

    async def coverage(self, model: str, version: str, after_us: int, until_us: int, as_of_us: int) -> Coverage:
        """Of the version's predictions for this time: how many had their outcome as of then, and its delay."""

    async def evict(self, model: str, unmatched_us: int, matched_us: int, as_of_us: int) -> dict[str, int]:
        """What arrived before is gone: alone before the first time, in pairs before the second. Counts by what it was.

        Alone is what had not met by the third: how far ahead the log has been read decides nothing.
        """


class States(Protocol):
    """One state a model."""

    async def lock(self, models: Sequence[str]) -> dict[str, ModelState]:
        """The states of those models that have one, each held until the transaction ends, taken in the order of names."""

    async def lock_or_make(self, model: str) -> ModelState:
        """The model's state, held until the transaction ends; a new one where there was none."""

    async def put(self, state: ModelState) -> None:
        """The model's state is this one. It was locked before."""


@dataclass(frozen=True, slots=True)
class KeptBlock:
    """How far a stream's present block is."""

    block: Block
    checks: bytes | None
    """The structural watch's state; None before its reference was known."""


@dataclass(frozen=True, slots=True)
class Known:
    """A version's training rows, ready to compare with."""

    watch: StructuralWatch
    bins: Bins


class Blocks(Protocol):
    """One block a stream, of the version that answers."""

    async def get(self, model: str, stream: str, version: str) -> KeptBlock | None:
        """The stream's block; None when it has none, or one of another version."""

    async def put(self, model: str, stream: str, version: str, block: Block, checks: bytes | None) -> None:
        """The stream's block is this one."""


class Tallies(Protocol):
    """Bins of features by window."""

    async def add(self, model: str, version: str, close_us: int, counts: Counts) -> None:
        """The rows are counted to the window with this close."""

    async def summed(self, model: str, version: str, after_us: int, until_us: int) -> Counts:
        """The counts of the windows that closed in (after, until]."""

    async def evict(self, model: str, until_us: int) -> None:
        """Windows that closed until then are forgotten."""


class References(Protocol):
    """What versions' features were like in training, by digest of the artifact that says so."""

    async def known(self, digest: str, rules: Rules) -> Known | None:
        """None while it is not there: nothing is compared until it is."""

    async def want(self, digest: str, cause: Cause) -> None:
        """It is read from the artifact store once the transaction commits, unless it is there or wanted already."""

    async def put(self, digest: str, document: str) -> None:
        """It is there."""


class Documents(Protocol):
    """Events that are needed whole again, by model."""

    async def deployment(self, model: str) -> Event[DeploymentChanged] | None:
        """The newest deployment."""

    async def put_deployment(self, event: Event[DeploymentChanged]) -> None:
        """It is the newest."""

    async def waiting_commands(self, model: str | None = None) -> list[Event[CommandGiven]]:
        """Commands that wait for their model's declaration, in the order in which they came."""

    async def put_command(self, event: Event[CommandGiven]) -> None:
        """It waits."""

    async def drop_command(self, event_id: str) -> None:
        """It waits no more."""


class Positions(Protocol):
    """How far this service has read."""

    async def read(self, topics: Sequence[str]) -> dict[Place, int]:
        """(topic, partition) to next offset, of every partition that it ever read, as of before this transaction."""


class Board(Protocol):
    """What people look at, read only."""

    async def states(self) -> list[ModelState]:
        """Every model's state, by name."""


class Ready(Protocol):
    """Whether what was declared before we started has been read."""

    def declared(self, positions: Mapping[Place, int]) -> bool:
        """True once declarations and deployments have been read up to where they ended when this process started."""


class Silence(Protocol):
    """Tells a topic that has fallen silent from one that was not read yet."""

    def suspect(self, model: str, places: Sequence[Place], newest_us: int) -> None:
        """One of the model's topics, at this time, is far ahead of the other: the ends of these partitions are looked up."""

    def suspects(self) -> list[str]:
        """The models under suspicion."""

    def acquit(self, model: str) -> None:
        """Its topics are in step again."""

    def proven(self, model: str, positions: Mapping[Place, int]) -> int | None:
        """The time of the suspicion, once everything is read that lay in its partitions after it; None before.

        Of what the topic ahead has told since nothing is proven: the other may have told as much, and it is not read yet.
        """
