"""A prediction as the record that Kafka gets.

Equal to what `driftloop_bus.codec` makes of a `PredictionMade` (a test holds them equal), at a tenth of its cost: the
values were checked when they came in, and most of the envelope is the same for every prediction of a version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from driftloop_bus.ports import Headers, Outgoing
from driftloop_contracts import derived_id, rfc3339
from driftloop_contracts.data_plane import PredictionMade
from driftloop_contracts.topics import PREDICTIONS

SOURCE: Final = b"/services/serving"
_encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Prediction:
    """One row that a version scored."""

    id: str
    time: datetime
    features: Mapping[str, Any]
    score: Any
    prediction: Any
    entity: str | None
    keys: Mapping[str, Any]
    segment: Mapping[str, Any]
    latency_ms: float
    feature_times: Mapping[str, datetime]


class Recorder:
    """Writes the predictions of one model, version and variant."""

    def __init__(self, model: str, version: str, variant: str) -> None:
        self._said = {"model": model, "version": version, "variant": variant}
        # The model is part of the id: two models may be asked under one prediction id.
        self._name = f"{model}:{version}:{variant}"
        self._key = model.encode()
        self._before: Headers = (("ce_specversion", b"1.0"),)
        self._between: Headers = (("ce_source", SOURCE), ("ce_type", PredictionMade.TYPE.encode()))
        self._after: Headers = (
            ("ce_subject", f"{model}@{version}".encode()),
            ("ce_dataschema", PredictionMade.dataschema().encode()),
        )

    def record(self, made: Prediction, served_at: str) -> Outgoing:
        """The prediction's event. Its id follows from prediction id, model, version and variant.

        served_at: the wall clock, RFC 3339.
        """
        value = _encode({
            "prediction_id": made.id,
            **self._said,
            "features": _present(made.features),
            "score": made.score,
            "prediction": made.prediction,
            **({} if made.entity is None else {"entity": made.entity}),
            "keys": _present(made.keys),
            "segment": _present(made.segment),
            "latency_ms": made.latency_ms,
            "feature_times": {view: rfc3339(time) for view, time in made.feature_times.items()},
            "served_at": served_at,
        })  # fmt: skip
        event_id = derived_id(made.id, self._name).encode()
        headers: Headers = (
            *self._before,
            ("ce_id", event_id),
            *self._between,
            ("ce_time", rfc3339(made.time).encode()),
            *self._after,
            ("ce_correlationid", event_id),
            ("ce_tenant", b"default"),
            ("ce_recordedat", served_at.encode()),
            ("content-type", b"application/json"),
        )
        return Outgoing(PREDICTIONS.name, self._key, value, headers)


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    """On the wire a missing value is absent."""
    return {name: value for name, value in values.items() if value is not None}
