"""Metrics, params and tags of a run, as clients log them."""

from typing import Final

from registry.api.mlflow.given import MAX_KEY_CHARS, Given
from registry.handlers.refused import invalid
from registry.ports.tracking import Batch, Point

MAX_METRICS: Final = 1000
MAX_PARAMS: Final = 100
MAX_TAGS: Final = 100
MAX_ALL: Final = 1000
MAX_PARAM_CHARS: Final = 6000
MAX_TAG_CHARS: Final = 8000


def batch(given: Given) -> Batch:
    """One `log-batch`; all of it is checked before anything is logged."""
    metrics, params, tags = given.parts("metrics"), given.parts("params"), given.parts("tags")
    read_metrics = [metric(part) for part in metrics]
    read_params = [(part.key(what=f"params[{i}].key"), param_value(part)) for i, part in enumerate(params)]
    read_tags = {part.key(): tag_value(part.text("value") or "") for part in tags}
    _check_size("metrics", len(metrics), MAX_METRICS)
    _check_size("params", len(params), MAX_PARAMS)
    _check_size("tags", len(tags), MAX_TAGS)
    _check_size("metrics, params, and tags", len(metrics) + len(params) + len(tags), MAX_ALL)
    _check_twice([key for key, _ in read_params])
    return Batch(read_metrics, dict(read_params), read_tags)


def metric(given: Given) -> Point:
    """One point; `metrics[i].name` is what MLflow calls its key when the key is bad."""
    key = given.needed("key")
    value = given.real("value")
    timestamp_ms = given.whole("timestamp", needed=True)
    step = given.whole("step") or 0
    given.key(shown="name", what="Metric name")
    if timestamp_ms is None or timestamp_ms < 0:
        raise invalid(
            f"Invalid value {timestamp_ms} for parameter '{given.place}timestamp' supplied: metric '{key}' (value={value}). "
            "Timestamp must be a nonnegative long (64-bit integer) "
        )
    return Point(
        key, value, timestamp_ms, step,
        model_id=given.text("model_id") or None,
        dataset_name=given.text("dataset_name", max_chars=500) or None,
        dataset_digest=given.text("dataset_digest", max_chars=MAX_KEY_CHARS) or None,
    )  # fmt: skip


def param_value(given: Given) -> str:
    """A param's value, never longer than MLflow keeps it."""
    return (given.text("value") or "")[:MAX_PARAM_CHARS]


def tag_value(value: str) -> str:
    """A tag's value, cut where MLflow cuts it."""
    return value[:MAX_TAG_CHARS]


def _check_size(what: str, given: int, allowed: int) -> None:
    if given > allowed:
        raise invalid(
            f"A batch logging request can contain at most {allowed} {what}. Got {given} {what}. Please split up {what} across "
            "multiple requests and try again."
        )


def _check_twice(keys: list[str]) -> None:
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise invalid(
            f"Duplicate parameter keys have been submitted: {twice}. Please ensure the request contains only one param value "
            "per param key."
        )
