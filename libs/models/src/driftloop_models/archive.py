"""A model as bytes, and back."""

import hashlib
from typing import Any, Final

from driftloop_models.boosted import dump_boosted, load_boosted
from driftloop_models.encoder import Encoder
from driftloop_models.linear import Linear
from driftloop_models.refusal import ModelRefused
from driftloop_models.table_model import TableModel
from driftloop_models.zips import json_bytes, json_of, members, pack

FORMAT: Final = "driftloop-table-model"
FORMAT_VERSION: Final = 1
MODEL: Final = "model.json"
ESTIMATORS: Final = ("linear.json", "estimator.skops")


def save(model: TableModel) -> bytes:
    """The model as a zip archive; the same model gives the same bytes, so that its digest is its name.

    Raises ModelRefused for an estimator that `load` would refuse.
    """
    document = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "task": model.task,
        "classes": list(model.classes),
        "encoder": model.encoder.to_json(),
    }
    estimator = model.estimator
    if isinstance(estimator, Linear):
        part = {"linear.json": json_bytes(estimator.to_json())}
    else:
        part = {"estimator.skops": dump_boosted(estimator)}
    return pack({MODEL: json_bytes(document), **part})


def load(data: bytes, *, max_bytes: int) -> TableModel:
    """The model in these bytes, ready to predict. Runs no code of whoever made them.

    Raises ModelRefused, saying what was given and what is allowed, for anything that `save` does not write.
    """
    if len(data) > max_bytes:
        raise ModelRefused(f"{len(data)} bytes; allowed: {max_bytes}")
    if not data.startswith(b"PK\x03\x04"):
        raise ModelRefused(f"bytes that begin with {data[:8]!r}: {sniffed(data)}; allowed: a {FORMAT} zip")
    inside = members(data)
    document = json_of(inside, MODEL)
    estimators = sorted(set(inside) - {MODEL})
    if len(estimators) != 1 or estimators[0] not in ESTIMATORS:
        raise ModelRefused(f"the archive holds {estimators}; allowed: {MODEL} and one of {', '.join(ESTIMATORS)}")
    _check_format(document)
    estimator: Any = (
        Linear.from_json(json_of(inside, "linear.json"))
        if estimators[0] == "linear.json"
        else load_boosted(inside["estimator.skops"])
    )
    return TableModel(Encoder.from_json(document["encoder"]), estimator, document["task"], _classes(document))


def digest_of(data: bytes) -> str:
    """sha256 of the bytes, in hexadecimal: the name under which they are stored."""
    return hashlib.sha256(data).hexdigest()


def sniffed(data: bytes) -> str:
    """What foreign bytes probably are, in words for the person who sent them."""
    if data[:1] == b"\x80":
        return "a pickle, which is never loaded"
    if data.startswith(b"\x89HDF"):
        return "an HDF5 file"
    return "no zip archive" if data else "nothing at all"


def _check_format(document: Any) -> None:
    expected = {"format", "format_version", "task", "classes", "encoder"}
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ModelRefused(f"{MODEL} does not say format {FORMAT}")
    if document.get("format_version") != FORMAT_VERSION:
        raise ModelRefused(f"format_version {document.get('format_version')!r}; allowed: {FORMAT_VERSION}")
    if set(document) != expected:
        raise ModelRefused(f"{MODEL} has {sorted(document)}; allowed: {sorted(expected)}")


def _classes(document: dict[str, Any]) -> tuple[Any, ...]:
    classes = document["classes"]
    if not isinstance(classes, list) or not all(isinstance(value, str | int | float) for value in classes):
        raise ModelRefused("classes must be a list of strings, numbers or booleans")
    return tuple(classes)
