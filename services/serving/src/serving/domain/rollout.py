"""Which version of a model answers a request, and which ones follow as shadows."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class Model(Protocol):
    """A loaded model: answers from columns of named features. Two threads may ask it at once."""

    @property
    def features(self) -> Mapping[str, Any]:
        """Name to type, in the model's order."""

    @property
    def task(self) -> str:
        """binary, multiclass or regression."""

    @property
    def classes(self) -> tuple[Any, ...]:
        """What each probability means; () for a regression."""

    def score(self, columns: Mapping[str, Any]) -> npt.NDArray[np.float64]:
        """Shape (n,): probability of classes[1], or the value; (n, classes) for several classes.

        Raises ValueError for columns that do not fit the model.
        """

    def decide(self, score: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
        """The prediction that follows from each score."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A version that must be loaded."""

    version: str
    digest: str
    golden: tuple[Mapping[str, Any], ...] = ()
    """Rows with the answers that the version gave when it was trained."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which versions of a model answer and follow, as one deployment says."""

    model: str
    revision: int
    champion: Wanted | None
    canaries: tuple[tuple[Wanted, float], ...] = ()
    """With their share of the traffic."""
    shadows: tuple[tuple[Wanted, int | None], ...] = ()
    """With the event time, in microseconds, at which each stops being scored; None: not before the next deployment."""

    @property
    def wanted(self) -> list[Wanted]:
        """Every version, the champion first: it must answer before anything else is loaded."""
        first = [self.champion] if self.champion else []
        return [*first, *(wanted for wanted, _ in self.canaries), *(wanted for wanted, _ in self.shadows)]


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A version that can answer."""

    version: str
    digest: str
    model: Model
    features: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """What answers of one model now. Replaced whole, so a request sees the old state or the new one."""

    plan: Plan
    champion: Loaded | None
    canaries: tuple[tuple[Loaded, float], ...] = ()
    shadows: tuple[tuple[Loaded, int | None], ...] = ()

    def version(self, version: str) -> Loaded | None:
        """The loaded version of this name, whatever its part."""
        every = [self.champion, *(one for one, _ in self.canaries), *(one for one, _ in self.shadows)]
        return next((one for one in every if one is not None and one.version == version), None)

    def answering(self, request_id: str) -> Loaded | None:
        """The version that this request falls to."""
        chosen = choose(self.plan.model, request_id, [(one.version, share) for one, share in self.canaries])
        return self.champion if chosen is None else self.version(chosen)

    def followers(self, at_us: int, answering: Loaded) -> list[Loaded]:
        """The shadows that score a request of this event time, each version once."""
        each = {one.version: one for one, until in self.shadows if until is None or at_us < until}
        return [one for version, one in each.items() if version != answering.version]


def choose(model: str, request_id: str, shares: Sequence[tuple[str, float]]) -> str | None:
    """The version that this request falls to, or None for the champion.

    shares: version and its share of the traffic. The same request always falls to the same version.
    """
    if not shares:
        return None
    place, reached = zlib.crc32(f"{model}/{request_id}".encode()) / 2**32, 0.0
    for version, share in shares:
        reached += share
        if place < reached:
            return version
    return None
