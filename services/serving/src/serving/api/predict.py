"""`POST /predict/{model}`: one row as plain JSON, for people and for producers without an inference client."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from starlette.types import Receive, Send

from serving.api.answering import answer, body_of, decoded, encode_json, new_id
from serving.scoring import Question, Row
from serving.ticks import Ticks

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=250)]
Scalar = bool | int | float | str | None


class Asking(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request. Features are checked by the model's declaration, so that an error can name each."""

    features: dict[str, Any]
    keys: dict[str, Scalar] = {}
    entity: Id | None = None
    time: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    prediction_id: Id | None = None


_decoder: Final = msgspec.json.Decoder(Asking)


async def predict(ticks: Ticks, model: str, receive: Receive, send: Send) -> None:
    """Answers `{"prediction_id", "model", "version", "prediction", "score"}`. Raises Refused."""
    asking: Asking = decoded(_decoder, await body_of(receive))
    row = Row(asking.features, asking.keys, asking.entity, asking.time)
    said = await ticks.predict(Question(model, [row], asking.prediction_id or new_id()))
    body = {
        "prediction_id": said.id,
        "model": model,
        "version": said.version,
        "prediction": said.predictions[0],
        "score": said.scores[0],
    }
    await answer(send, 200, encode_json(body))
