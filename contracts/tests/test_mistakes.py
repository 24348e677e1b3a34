"""What is wrong with a document is told with its place and with what is allowed there."""

from __future__ import annotations

from typing import Any

import pytest

from driftloop_contracts.mistakes import mistakes

SOUND: dict[str, Any] = {
    "model": "fraud",
    "owner": "shop-team",
    "task": "binary",
    "features": {"amount": "number", "country": {"type": "category"}},
    "train": {"entry": "shop.train:train"},
}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown key": ({"colour": 1}, "colour: no such key; allowed here are features, gate, model, monitor, outcome, owner"),
    "an unknown key of a part": ({"gate": {"floor": 1}}, "gate.floor: no such key; allowed here are approval, floors"),
    "an unknown key of a feature": (
        {"features": {"amount": {"type": "number", "maxage": "4h"}}},
        "features.amount.maxage: no such key; allowed here are entity, field, max_age, on_stale, type, view",
    ),
    "a wrong word": ({"task": "guess"}, "task: Input should be 'binary', 'multiclass' or 'regression', given 'guess'"),
    "an unknown feature": ({"segments": ["shop"]}, "segments name unknown features ['shop']; declared are ['amount', 'country']"),
    "a bad duration": ({"rollout": {"look_after": ["soon"]}}, "rollout.look_after.0: 'soon' is no duration: write a number"),
    "a name that is none": ({"features": {"a b": "number"}}, "features.a b: String should match pattern"),
}  # fmt: skip


def test_a_sound_document_has_none() -> None:
    assert mistakes(SOUND) == []
    assert mistakes({"view": "shops", "entity": "shop", "features": {"risk": "number"}}) == []


@pytest.mark.parametrize("wrong", WRONG)
def test_a_mistake_is_told(wrong: str) -> None:
    changed, told = WRONG[wrong]
    (found,) = mistakes(SOUND | changed)
    assert str(found).startswith(told)


def test_every_mistake_is_told() -> None:
    without = {key: value for key, value in SOUND.items() if key not in ("owner", "train")}
    assert [str(one) for one in mistakes(without)] == ["owner: is needed", "train: is needed"]


def test_what_is_neither_model_nor_view_is_told() -> None:
    (found,) = mistakes({"models": "fraud"})
    assert (found.place, str(found)) == ((), "a document starts with `model:` or `view:`; given keys are ['models']")


def test_what_was_given_is_told_shortly() -> None:
    (found,) = mistakes(SOUND | {"task": "x" * 500})
    assert len(str(found)) < 200
