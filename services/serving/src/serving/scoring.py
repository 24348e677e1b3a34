"""Questions of one tick, scored in one call a version."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from driftloop_bus.errors import Refused
from serving.domain.features import Promise, Scalar, Seen, columns
from serving.domain.rollout import Loaded, Shown
from serving.wire import plain


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a question, as it was given."""

    features: Mapping[str, Any]
    keys: Mapping[str, Scalar] = field(default_factory=dict)
    entity: str | None = None
    time: datetime | None = None
    """The moment that the prediction is for; now if not given."""


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody asked."""

    model: str
    rows: Sequence[Row]
    id: str
    """The prediction id; row i of several has `<id>/<i>`."""
    version: str | None = None
    """Only where the caller insists on one."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A checked question, its features filled, and who answers it."""

    question: Question
    promise: Promise
    shown: Shown
    answering: Loaded
    seen: Sequence[Seen]
    times_us: Sequence[int]
    started_s: float

    @property
    def variant(self) -> str:
        """champion, or challenger where another version answers."""
        return "champion" if self.answering is self.shown.champion else "challenger"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a version said, one entry a row."""

    id: str
    version: str
    task: str
    classes: tuple[Any, ...]
    scores: list[Any]
    predictions: list[Any]


def row_id(question: Question, at: int) -> str:
    """The prediction id of a row."""
    return question.id if len(question.rows) == 1 else f"{question.id}/{at}"


@dataclass(slots=True)
class Group:
    """Questions that one version scores in one call."""

    version: Loaded
    asked: list[Asked] = field(default_factory=list)


def by_version(batch: Sequence[Asked], versions: Callable[[Asked], Sequence[Loaded]]) -> list[Group]:
    """One group for each version that `versions` names, with the questions for which it does."""
    groups: dict[int, Group] = {}
    for asked in batch:
        for one in versions(asked):
            groups.setdefault(id(one), Group(one)).asked.append(asked)
    return list(groups.values())


def followers(asked: Asked) -> list[Loaded]:
    """Every shadow that scores at least one row."""
    each = {id(one): one for at_us in asked.times_us for one in asked.shown.followers(at_us, asked.answering)}
    return list(each.values())


def followed(asked: Asked, version: Loaded) -> list[int]:
    """The rows that the shadow scores: a previous champion follows for a while, in event time."""
    return [at for at, at_us in enumerate(asked.times_us) if version in asked.shown.followers(at_us, asked.answering)]


def scored(group: Group) -> list[Answer | Refused]:
    """An answer to each question of the group. One that can't be scored refuses itself, not its neighbours."""
    try:
        return list(_scored_together(group.version, group.asked))
    except ValueError as reason:
        if len(group.asked) > 1:
            return [one for asked in group.asked for one in scored(Group(group.version, [asked]))]
        return [Refused(f"version {group.version.version} can't score this: {reason}", status=422)]


def _scored_together(version: Loaded, batch: Sequence[Asked]) -> list[Answer]:
    """Raises ValueError where the rows do not fit the model, or where it says what is no number."""
    rows = [seen for asked in batch for seen in asked.seen]
    model = version.model
    scores = model.score(columns(rows, version.features))
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite")
    said, decided = plain(scores), plain(model.decide(scores))
    answers, start = [], 0
    for asked in batch:
        end = start + len(asked.seen)
        said_of, decided_of = said[start:end], decided[start:end]
        answers.append(Answer(asked.question.id, version.version, model.task, model.classes, said_of, decided_of))
        start = end
    return answers
