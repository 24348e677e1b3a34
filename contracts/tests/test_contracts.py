"""The wire holds what it promises: examples decode, generated files are fresh, and a breaking change is seen."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from driftloop_contracts import FACTS, TOPICS, caused, first, topic_for
from driftloop_contracts.compatibility import breaks, violations
from driftloop_contracts.data_plane import OutcomeObserved, PredictionMade
from driftloop_contracts.documents import ModelDeclaration, parse_document
from driftloop_contracts.loop import DriftDetected
from driftloop_contracts.schemas import asyncapi, generated, schema_of

HERE = Path(__file__).parents[1]
EXAMPLES = sorted((HERE / "examples").glob("*.json"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_ever_committed_decodes_and_fits_its_schema(path: Path) -> None:
    example = json.loads(path.read_text())
    fact = FACTS[example["type"]]
    again = fact.read(json.dumps(example["data"]).encode())
    assert json.loads(again.model_dump_json(exclude_none=True)) == example["data"]
    jsonschema.validate(example["data"], schema_of(fact))


def test_every_event_has_an_example() -> None:
    assert {path.stem for path in EXAMPLES} == set(FACTS)


def test_the_committed_schemas_are_those_of_the_classes() -> None:
    for name, text in generated().items():
        assert (HERE / name).read_text() == text, f"{name} is stale: run `make schemas`"


def test_the_asyncapi_document_names_every_topic_with_its_writer_and_readers() -> None:
    document = asyncapi()
    assert set(document["channels"]) == {topic.name for topic in TOPICS}
    assert "serving.sends.predictions.v1" in document["operations"]
    assert "monitor.receives.outcomes.v1" in document["operations"]


def test_a_reader_ignores_a_field_it_does_not_know_at_any_depth() -> None:
    example: dict[str, Any] = json.loads((HERE / "examples" / f"{DriftDetected.TYPE}.json").read_text())["data"]
    example["new"], example["signal"]["new"] = 1, 2
    assert DriftDetected.read(json.dumps(example).encode()).signal.kind == "loss"


def test_a_writer_may_not_misspell() -> None:
    with pytest.raises(ValidationError, match="predicton"):
        PredictionMade(prediction_id="a", model="m", predicton=1)  # type: ignore[call-arg]  # the misspelling is the test


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_are_finite(bad: str) -> None:
    with pytest.raises(ValidationError):
        OutcomeObserved.read(
            f'{{"model":"m","prediction_id":"a","value":{bad},"observed_at":"2013-01-01T00:00:00Z"}}'.encode()
        )


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValidationError, match="timezone"):
        OutcomeObserved.read(b'{"model":"m","prediction_id":"a","value":1,"observed_at":"2013-01-01T00:00:00"}')


def test_what_follows_from_a_cause_has_the_same_id_each_time_and_keeps_the_chain() -> None:
    outcome = OutcomeObserved.read(b'{"model":"m","prediction_id":"a","value":1,"observed_at":"2013-01-01T00:00:00Z"}')
    origin = first(outcome, id="o-1", time=outcome.observed_at)
    once, twice = (caused(outcome, origin.as_cause(), "x") for _ in range(2))
    assert once == twice
    assert (once.causation, once.correlation) == ("o-1", "o-1")
    assert caused(outcome, origin.as_cause(), "y").id != once.id
    assert caused(outcome, once.as_cause()).correlation == "o-1"


def test_one_topic_has_one_writer() -> None:
    assert topic_for(DriftDetected, "monitor").name == "drift.v1"
    with pytest.raises(LookupError, match="registry may not write DriftDetected"):
        topic_for(DriftDetected, "registry")


BREAKING: dict[str, Any] = {
    "removed": lambda schema: schema["properties"].pop("entity"),
    "newly required": lambda schema: schema["required"].append("entity"),
    "no longer required": lambda schema: schema["required"].remove("model"),
    "retyped": lambda schema: schema["properties"]["revision"].update(type="string"),
    "re-bounded": lambda schema: schema["properties"]["revision"].update(minimum=1),
    "enum narrowed": lambda schema: schema["properties"]["model"].update(enum=["a"]),
    "choices widened": lambda schema: schema["properties"]["value"]["anyOf"].append({"type": "array"}),
}


@pytest.mark.parametrize("change", BREAKING)
def test_the_checker_sees_a_breaking_change(change: str) -> None:
    old = schema_of(OutcomeObserved)
    new = copy.deepcopy(old)
    BREAKING[change](new)
    assert breaks(old, new)


def test_the_checker_lets_a_new_optional_field_pass() -> None:
    old = schema_of(OutcomeObserved)
    new = copy.deepcopy(old)
    new["properties"]["note"] = {"type": "string"}
    assert breaks(old, new) == []


def test_the_checker_sees_a_change_inside_a_nested_part() -> None:
    old = schema_of(DriftDetected)
    new = copy.deepcopy(old)
    new["$defs"]["Signal"]["required"].append("unit")
    assert breaks(old, new) == [".signal.unit: is newly required"]


def test_today_breaks_nothing_of_the_last_commit() -> None:
    assert violations("HEAD", HERE.parent) == []


DOCUMENT: dict[str, Any] = {
    "model": "m", "owner": "o", "task": "binary", "features": {"x": "number"}, "train": {"entry": "a.b:c"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"modle": "x"}, "modle"),
        ({"segments": ["y"]}, "declared are"),
        ({"features": {"x": {"type": "number", "view": "w"}}}, "both `view` and `entity`"),
        ({"features": {"x": "numbre"}}, "'number', 'category' or 'boolean'"),
        ({"outcome": {"expected_within": "36 hours"}}, "write a number and one of"),
        ({"outcome": {"expected_within": "99999999999d"}}, "at most 36500d"),
        ({"monitor": {"trigger": {"window": "7h"}}}, "divides the day, or a number of days"),
        ({"monitor": {"trigger": {"window": "0d"}}}, "a number above 0"),
        ({"rollout": {"unit": "5h"}}, "divides the day, or a number of days"),
        ({"retrain": {"window": "quarter"}}, "write all, or a duration"),
        ({"retrain": {"window": "0d"}}, "a number above 0"),
        ({"train": {"entry": "a.b:c", "timeout": "0s"}}, "a number above 0"),
        ({"rollout": {"look_after": ["14d", "7d"]}}, "growing order"),
        ({"task": "regression", "gate": {"floors": ["last_24h_rate"]}}, "task binary only"),
    ],
)
def test_a_declaration_with_a_mistake_is_refused_with_what_was_allowed(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        parse_document(DOCUMENT | change)


def test_a_document_that_is_neither_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="starts with `model:` or `view:`"):
        parse_document({"nodel": "m"})


def test_a_short_feature_means_its_type() -> None:
    document = parse_document(DOCUMENT)
    assert isinstance(document, ModelDeclaration)
    assert document.features["x"].type == "number"
    assert document.from_caller() == ["x"]
