"""The Open Inference Protocol v2 over REST: what `tritonclient`, `kserve` and their like speak.

A declared model has one input per feature, `[-1]` of FP64, BOOL or BYTES (category); those that a view supplies are
optional. A model of numbers alone also takes one tensor `[-1, n]` in declared order. Errors are `{"error": text}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from starlette.types import Receive, Scope, Send

from driftloop_bus.errors import Refused
from serving.api.answering import answer, body_of, decoded, new_id
from serving.api.envelope import InferRequest, TensorIn, TensorOut, closed, opened
from serving.api.predict import Scalar
from serving.domain.features import FeatureType, Promise
from serving.scoring import Answer, Question, Row
from serving.ticks import Ticks

MAX_ROWS: Final = 1000
# Whole numbers are numbers and, as codes, categories.
_WHOLE: Final = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
ACCEPTED: Final[dict[FeatureType, tuple[str, ...]]] = {
    "number": ("FP64", "FP32", "FP16", "BF16", *_WHOLE),
    "boolean": ("BOOL",),
    "category": ("BYTES", *_WHOLE),
}
"""The first is what the metadata says."""

_times: Final = msgspec.json.Decoder(list[datetime])
_entities: Final = msgspec.json.Decoder(list[str | None])
_keys: Final = msgspec.json.Decoder(list[dict[str, Scalar]] | dict[str, Scalar])


async def infer(ticks: Ticks, path: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers `POST /v2/models/{m}[/versions/{v}]/infer`. Raises Refused."""
    model, version = named(path)
    body = await body_of(receive)
    promise = ticks.serving.promise(model)
    try:
        request, tensors = opened(scope, body)
        question = Question(model, _rows(promise, request, tensors), request.id or new_id(), version)
        said = await ticks.predict(question)
    except Refused as refused:
        # To this protocol a body of another shape is a bad request like any other.
        raise Refused(refused.message, status=400 if refused.status == 422 else refused.status) from refused
    head = {"model_name": model, "model_version": said.version, "id": said.id}
    content, headers = closed(scope, request, head, outputs_of(said))
    await answer(send, 200, content, headers | {b"x-prediction-id": said.id.encode()})


def named(path: str) -> tuple[str, str | None]:
    """Model and version of `/v2/models/{m}[/versions/{v}]/infer`. Raises Refused (404) for another path."""
    match path.split("/")[3:]:
        case [model, "infer"]:
            return model, None
        case [model, "versions", version, "infer"]:
            return model, version
    raise Refused("no such path", status=404)


def outputs_of(said: Answer) -> list[TensorOut]:
    """`prediction` and `score`, one entry a row."""
    rows = len(said.predictions)
    if said.task == "multiclass":
        flat = [value for row in said.scores for value in row]
        score = TensorOut("score", "FP64", [rows, len(said.classes)], flat)
    else:
        score = TensorOut("score", "FP64", [rows], said.scores)
    return [TensorOut("prediction", datatype_of(said.task, said.classes), [rows], said.predictions), score]


def datatype_of(task: str, classes: tuple[Any, ...]) -> str:
    """Of the prediction: the value of a regression, else a class."""
    if task == "regression":
        return "FP64"
    if all(isinstance(value, bool) for value in classes):
        return "BOOL"
    if all(isinstance(value, int) for value in classes):
        return "INT64"
    return "BYTES" if all(isinstance(value, str) for value in classes) else "FP64"


def _rows(promise: Promise, request: InferRequest, tensors: Mapping[str, tuple[TensorIn, list[Any]]]) -> list[Row]:
    columns = _one_matrix(promise, tensors) or _columns(promise, tensors)
    n = _count(columns)
    given = request.parameters
    features = [{name: column[at] for name, column in columns.items()} for at in range(n)]
    keys = _each(given.get("keys"), n, _keys)
    entities = _each(given.get("entity"), n, _entities)
    times = _each(given.get("time"), n, _times)
    return [Row(features[at], keys[at] or {}, entities[at], times[at]) for at in range(n)]


def _columns(promise: Promise, tensors: Mapping[str, tuple[TensorIn, list[Any]]]) -> dict[str, list[Any]]:
    """The elements of each input, checked against the declared type."""
    for name, (tensor, _) in tensors.items():
        rule = promise.by_name.get(name)
        if rule is None:
            raise Refused(f"unknown input {name[:250]!r}; the model's are {', '.join(promise.by_name)}")
        if tensor.datatype not in ACCEPTED[rule.type]:
            allowed = ", ".join(ACCEPTED[rule.type])
            raise Refused(f"input {name!r}: datatype {tensor.datatype}, declared {rule.type}: allowed are {allowed}")
        if len(tensor.shape) != 1 and tensor.shape[1:] != [1]:
            raise Refused(f"input {name!r}: shape {tensor.shape[:10]}, allowed is [-1]")
    return {name: elements for name, (_, elements) in tensors.items()}


def _one_matrix(promise: Promise, tensors: Mapping[str, tuple[TensorIn, list[Any]]]) -> dict[str, list[Any]] | None:
    """The columns of the one tensor `[-1, n]` that a model of numbers alone takes, or None for another request."""
    names = list(promise.by_name)
    if len(tensors) != 1 or any(rule.type != "number" for rule in promise.rules):
        return None
    ((tensor, elements),) = tensors.values()
    if len(tensor.shape) != 2 or (tensor.name in promise.by_name and len(names) > 1 and tensor.shape[1] == 1):
        return None
    if tensor.shape[1] != len(names) or tensor.datatype not in ACCEPTED["number"]:
        raise Refused(
            f"input {tensor.name[:250]!r}: {tensor.datatype} {tensor.shape}; one tensor for all features "
            f"is a number of shape [-1, {len(names)}]: {', '.join(names)}"
        )
    return {name: elements[at :: len(names)] for at, name in enumerate(names)}


def _count(columns: Mapping[str, list[Any]]) -> int:
    counts = {len(column) for column in columns.values()}
    if len(counts) != 1:
        raise Refused(f"the inputs have {sorted(counts)} rows; allowed is one number of rows for all")
    (n,) = counts
    if not 1 <= n <= MAX_ROWS:
        raise Refused(f"{n} rows; allowed are 1 to {MAX_ROWS} in one request")
    return n


def _each(given: Any, n: int, decoder: msgspec.json.Decoder[Any]) -> list[Any]:
    """A parameter for each row: one value stands for all rows; lists travel as JSON, in text or as they are."""
    if given is None:
        return [None] * n
    text = given if isinstance(given, str) else msgspec.json.encode(given).decode()
    wrapped = text if text[:1] == "[" else f"[{text if text[:1] == '{' else msgspec.json.encode(text).decode()}]"
    values = decoded(decoder, wrapped.encode())
    each = values * n if len(values) == 1 else values
    if len(each) != n:
        raise Refused(f"a parameter has {len(values)} entries for {n} rows")
    return list(each)
