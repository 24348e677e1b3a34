"""What an outside producer can say, as events."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from driftloop_contracts import AnyEvent, derived_id, first
from driftloop_contracts.data_plane import ObservationMade, OutcomeObserved, PredictionMade
from driftloop_contracts.event import Scalar


def predicted(
    model: str,
    features: Mapping[str, Scalar],
    *,
    prediction_id: str | None = None,
    time: datetime | None = None,
    **more: Any,
) -> AnyEvent:
    """A PredictionMade event. Its id follows from model, prediction, version and variant: logged twice, it is one.

    time: what the prediction is for, now if not given. more: the other fields of PredictionMade.
    Raises pydantic's ValidationError (a ValueError) with what is wrong: NaN, a name that is none, a misspelt field.
    """
    asked = prediction_id or str(uuid.uuid4())
    fact = PredictionMade(prediction_id=asked, model=model, features=dict(features), **more)
    # The same id that serving derives: a prediction is one, whoever tells of it.
    return first(fact, id=derived_id(asked, f"{model}:{fact.version}:{fact.variant}"), time=time or datetime.now(UTC))


def came_true(
    model: str, prediction_id: str, value: bool | int | float | str, *, at: datetime | None = None, **more: Any
) -> AnyEvent:
    """An OutcomeObserved event. Its id follows from model, prediction and revision. Raises as `predicted`."""
    moment = at or datetime.now(UTC)
    fact = OutcomeObserved(model=model, prediction_id=prediction_id, value=value, observed_at=moment, **more)
    return first(fact, id=derived_id(prediction_id, f"{model}:outcome:{fact.revision}"), time=moment)


def observed(
    view: str, entity: str, values: Mapping[str, Scalar], *, at: datetime | None = None, **more: Any
) -> AnyEvent:
    """An ObservationMade event: its id follows from all that it says. Raises as `predicted`."""
    moment = at or datetime.now(UTC)
    fact = ObservationMade(view=view, entity=entity, values=dict(sorted(values.items())), time=moment, **more)
    return first(fact, id=derived_id(fact.key(), fact.model_dump_json()), time=moment)
