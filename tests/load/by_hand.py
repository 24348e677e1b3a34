"""Servers beside serving, for uvicorn: one that answers fixed bytes, and what people write by hand for the same model."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from fastapi import FastAPI
from pydantic import BaseModel, create_model
from sklearn.linear_model import LogisticRegression

FEATURES: Final = tuple(f"feature_{i:02d}" for i in range(26))
COEFFICIENTS: Final = np.random.default_rng(26).normal(size=(1, len(FEATURES))).round(6)
MODEL: Final = "load-linear"
ANSWER: Final = json.dumps(
    {"prediction_id": "0" * 36, "model": MODEL, "version": "1", "prediction": True, "score": 0.123456789}
).encode()
HEADERS: Final = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]


async def bare(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The floor under any ASGI app: the request is read, the answer is fixed."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})


FIELDS: Final[Mapping[str, Any]] = dict.fromkeys(FEATURES, (float, ...))
Features: Any = create_model("Features", **FIELDS)


class Asking(BaseModel):
    features: Features


class Answer(BaseModel):
    prediction_id: str
    model: str
    version: str
    prediction: bool
    score: float


async def fresh_topic(kafka: str) -> str:
    """A topic for hand-written events: nobody reads them."""
    name = f"load-by-hand-{uuid.uuid4().hex[:8]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, 1)])
    finally:
        await admin.close()
    return name


def fitted() -> LogisticRegression:
    """scikit-learn's model with the same coefficients as serving's."""
    model = LogisticRegression()
    model.coef_, model.intercept_, model.classes_ = COEFFICIENTS, np.zeros(1), np.array([False, True])
    model.n_features_in_ = len(FEATURES)
    return model


def predict_app() -> FastAPI:
    """FastAPI, pydantic in and out, scikit-learn. Where LOAD_KAFKA and LOAD_TOPIC are set, an event a prediction too."""
    kafka, model = os.environ.get("LOAD_KAFKA", ""), fitted()
    producer: AIOKafkaProducer | None = None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal producer
        if kafka:
            producer = AIOKafkaProducer(bootstrap_servers=kafka, linger_ms=5)
            await producer.start()
        yield
        if producer:
            await producer.stop()

    app = FastAPI(lifespan=lifespan)

    @app.post(f"/predict/{MODEL}")
    async def predict(asking: Asking) -> Answer:
        features = asking.features.model_dump()
        score = float(model.predict_proba(np.array([[features[name] for name in FEATURES]]))[0, 1])
        answer = Answer(prediction_id=str(uuid.uuid4()), model=MODEL, version="1", prediction=score >= 0.5, score=score)
        if producer:
            event = {**answer.model_dump(), "features": features, "served_at": datetime.now(UTC).isoformat()}
            await producer.send(os.environ["LOAD_TOPIC"], json.dumps(event).encode(), key=MODEL.encode())
        return answer

    return app
