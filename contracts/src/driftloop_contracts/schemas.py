"""JSON Schemas and the AsyncAPI document, generated from the classes.

`python -m driftloop_contracts.schemas FOLDER` writes them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from driftloop_contracts.event import Fact
from driftloop_contracts.topics import FACTS, TOPICS, Topic

VERSION: Final = "0.1.0"
ENVELOPE: Final[dict[str, str]] = {
    "ce_specversion": "CloudEvents version, 1.0",
    "ce_id": "identity of the event, made by its producer",
    "ce_source": "/services/<name> or /producers/<name>",
    "ce_type": "type of the event with its major version",
    "ce_time": "event time, RFC 3339: when it became true",
    "ce_subject": "<model>, <model>@<version> or <view>/<entity>",
    "ce_dataschema": "URN of the schema with its minor version",
    "ce_causationid": "id of the event that caused this one",
    "ce_correlationid": "id of the first event of the chain",
    "ce_tenant": "from the credential, never from the body",
    "ce_recordedat": "wall clock of the writer, for people",
    "traceparent": "W3C trace context",
    "content-type": "application/json, or application/vnd.apache.arrow.stream for packed records",
}


def schema_of(fact: type[Fact]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of the data. Unknown fields are allowed: readers ignore them."""
    schema = fact.model_json_schema(mode="validation")
    _open(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": fact.dataschema(), **schema}


def _open(node: Any) -> None:
    """Writers are held to known names by the classes; a schema that readers use must let new optional fields pass."""
    if isinstance(node, dict):
        if node.get("additionalProperties") is False:
            del node["additionalProperties"]
        for child in node.values():
            _open(child)
    elif isinstance(node, list):
        for child in node:
            _open(child)


def _channel(topic: Topic) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": f"key: {topic.key}; written by {topic.owner}; read by {', '.join(topic.readers)}",
        "messages": {fact.__name__: {"$ref": f"#/components/messages/{fact.TYPE}"} for fact in topic.events},
        "bindings": {
            "kafka": {"partitions": topic.partitions, "topicConfiguration": {"cleanup.policy": [topic.cleanup]}}
        },
    }


def _message(fact: type[Fact]) -> dict[str, Any]:
    return {
        "name": fact.TYPE,
        "title": fact.__name__,
        "summary": (fact.__doc__ or "").strip().splitlines()[0],
        "contentType": "application/json",
        "headers": {"$ref": "#/components/schemas/envelope"},
        "payload": {"$ref": f"./schemas/{fact.TYPE}.json"},
    }


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3 document of all topics: a channel each, `send` by its writer, `receive` by its readers."""
    operations: dict[str, Any] = {}
    for topic in TOPICS:
        channel = {"channel": {"$ref": f"#/channels/{topic.name}"}}
        operations[f"{topic.owner}.sends.{topic.name}"] = {"action": "send", **channel}
        for reader in topic.readers:
            operations[f"{reader}.receives.{topic.name}"] = {"action": "receive", **channel}
    envelope = {
        "type": "object",
        "properties": {name: {"type": "string", "description": text} for name, text in ENVELOPE.items()},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Driftloop", "version": VERSION, "license": {"name": "Apache-2.0"}},
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": operations,
        "components": {
            "messages": {fact.TYPE: _message(fact) for fact in FACTS.values()},
            "schemas": {"envelope": envelope},
        },
    }


def generated() -> dict[str, str]:
    """Every generated file: its path below `contracts/`, and its text."""
    files: dict[str, Any] = {f"schemas/{fact.TYPE}.json": schema_of(fact) for fact in FACTS.values()}
    files["asyncapi.json"] = asyncapi()
    return {name: json.dumps(content, indent=1, sort_keys=True) + "\n" for name, content in files.items()}


def main(folder: Path) -> None:
    """Writes the files, and removes schemas whose class is gone."""
    files = generated()
    for stale in folder.glob("schemas/*.json"):
        if f"schemas/{stale.name}" not in files:
            stale.unlink()
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "contracts"))
