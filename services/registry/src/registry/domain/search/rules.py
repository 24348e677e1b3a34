"""What each of MLflow's searches may name, and how it may be compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

NUMERIC: Final = ("<", "<=", ">=", "=", "!=", ">")
TEXTUAL: Final = ("=", "!=", "LIKE", "ILIKE")
PRESENCE: Final = ("IS NULL", "IS NOT NULL")
LISTS: Final = ("IN", "NOT IN")


@dataclass(frozen=True, slots=True)
class Rules:
    """One search. Entities map every spelling to its entity; attributes map every spelling to theirs."""

    entities: Mapping[str, str]
    texts: Mapping[str, str]
    numbers: Mapping[str, str] = field(default_factory=dict)
    lists: frozenset[str] = frozenset()
    """Text attributes that may be compared with a list."""
    presence: bool = True
    """Whether tags and params may be asked for with IS [NOT] NULL."""
    orders: frozenset[str] = frozenset()
    """Attributes to sort by."""
    order_names: Mapping[str, str] = field(default_factory=dict)
    """Further spellings of them."""
    in_registry: bool = False
    """The registry's searches have words of their own for what is wrong."""
    quoted_clauses: bool = False
    """Whether wrong clauses are shown in quotes."""
    integers: frozenset[str] = frozenset()
    """Numbers that are whole, quoted or not."""


_TAGS: Final = {"tag": "tag", "tags": "tag"}
_ATTRIBUTES: Final = dict.fromkeys(("attribute", "attributes", "attr"), "attribute")


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


RUNS: Final = Rules(
    entities={
        "metric": "metric", "metrics": "metric", "param": "parameter", "params": "parameter", "parameter": "parameter",
        "parameters": "parameter", "run": "attribute", "dataset": "dataset", "datasets": "dataset",
    } | _TAGS | _ATTRIBUTES,
    texts=_same("run_id", "run_name", "status", "user_id", "artifact_uri")
    | {"run name": "run_name", "Run name": "run_name", "Run Name": "run_name"},
    numbers=_same("start_time", "end_time") | {"created": "start_time", "Created": "start_time"},
    lists=frozenset(("run_id",)),
    orders=frozenset(("run_id", "run_name", "status", "user_id", "artifact_uri", "start_time", "end_time")),
    order_names={"created": "start_time", "Created": "start_time"},
    quoted_clauses=True,
)  # fmt: skip
EXPERIMENTS: Final = Rules(
    entities=_TAGS | _ATTRIBUTES,
    texts=_same("name", "experiment_id"),
    numbers=_same("creation_time", "last_update_time"),
    lists=frozenset(("experiment_id",)),
    orders=frozenset(("name", "experiment_id", "creation_time", "last_update_time")),
)
MODELS: Final = Rules(
    entities=_TAGS | _ATTRIBUTES,
    texts=_same("name"),
    lists=frozenset(("name",)),
    presence=False,
    orders=frozenset(("name", "timestamp")),
    order_names={"last_updated_timestamp": "timestamp"},
    in_registry=True,
)
VERSIONS: Final = Rules(
    entities=_TAGS | _ATTRIBUTES,
    texts=_same("name", "run_id", "source_path"),
    numbers=_same("version_number"),
    lists=frozenset(("name", "run_id")),
    presence=False,
    orders=frozenset(("name", "version_number", "creation_timestamp", "last_updated_timestamp")),
    in_registry=True,
    integers=frozenset(("version_number",)),
)
LOGGED_MODELS: Final = Rules(
    entities={
        "metric": "metric", "metrics": "metric", "param": "parameter", "params": "parameter",
    } | _TAGS | _ATTRIBUTES,
    texts=_same("name", "model_id", "model_type", "status", "source_run_id"),
    numbers=_same("creation_timestamp", "last_updated_timestamp") | {"creation_time": "creation_timestamp"},
    lists=frozenset(("name", "model_id", "source_run_id")),
    orders=frozenset(
        ("name", "model_id", "model_type", "status", "source_run_id", "creation_timestamp", "last_updated_timestamp")
    ),
)  # fmt: skip
