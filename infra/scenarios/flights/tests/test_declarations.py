"""The documents that are applied say what the code does."""

from importlib.resources import files
from typing import Any

import pytest
import yaml

from flights.features import FEATURES, OF_THE_CALLER, PLANE, PLANE_FIELDS, WEATHER
from flights.offline.circle import FRESH_OUTCOMES, LOOKS_AFTER_DAYS
from flights.offline.floors import FLOORS
from flights.offline.versions import MIN_OUTCOMES
from flights.train import KINDS

MODELS = pytest.mark.parametrize("name", ["flight-delay", "flight-delay-hard"])


def document(name: str) -> dict[str, Any]:
    loaded = yaml.safe_load((files("flights") / "declarations" / f"{name}.yaml").read_text())
    assert isinstance(loaded, dict)
    return loaded


@MODELS
def test_the_declared_features_are_those_of_the_world(name: str) -> None:
    declared = {
        feature: rule if isinstance(rule, str) else rule["type"] for feature, rule in document(name)["features"].items()
    }
    assert list(declared.items()) == list(FEATURES.items())


@MODELS
def test_each_feature_comes_from_whom_the_world_says(name: str) -> None:
    features = document(name)["features"]
    views = {feature: rule["view"] for feature, rule in features.items() if not isinstance(rule, str)}
    assert views == {**dict.fromkeys(WEATHER, "weather"), **dict.fromkeys(PLANE, "plane")}
    assert [feature for feature in features if feature not in views] == list(OF_THE_CALLER)
    assert {feature: features[feature]["field"] for feature in PLANE} == PLANE_FIELDS


def test_the_views_hold_what_the_features_read() -> None:
    assert list(document("weather")["features"]) == list(WEATHER)
    assert list(document("plane")["features"]) == list(PLANE_FIELDS.values())


@MODELS
def test_the_policy_is_the_one_that_the_offline_circle_walks(name: str) -> None:
    declared = document(name)
    trigger = declared["monitor"]["trigger"]
    assert (trigger["min_outcomes"], trigger["closes"], trigger["loss"]) == (MIN_OUTCOMES, "09:00Z", "brier")
    assert declared["retrain"]["fresh_outcomes"] == FRESH_OUTCOMES
    assert "also_every" not in declared["retrain"]
    assert declared["rollout"]["look_after"] == [f"{days}d" for days in LOOKS_AFTER_DAYS]
    assert set(declared["gate"]["floors"]) <= set(FLOORS)
    assert declared["train"]["params"]["kind"] in KINDS


def test_both_documents_declare_one_model_and_differ_in_how_it_is_fitted_alone() -> None:
    easy, hard = document("flight-delay"), document("flight-delay-hard")
    assert easy["train"].pop("params") != hard["train"].pop("params")
    assert easy == hard
