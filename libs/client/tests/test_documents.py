"""`driftloop model check`: which line, what was given, what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
from libs.client.tests.command import driftloop

SOUND = """\
model: fraud
owner: shop-team
task: binary
features:
  amount: number
  country: category
  risk: {type: number, view: shops, entity: shop, max_age: 4h, on_stale: null}
segments: [country]
outcome: {expected_within: 36h, loss: log_loss}
train: {entry: "shop.train:train", timeout: 10m}
monitor:
  trigger: {detector: page_hinkley, loss: brier, window: 1d}
gate:
  slices: [country]
rollout:
  look_after:
    - 7d
    - 14d
"""
MISTAKES = {
    "an unknown key": ("owner: shop-team", "ownr: shop-team", "2: ownr: no such key; allowed here are features, gate, model"),
    "an unknown key deep inside": (
        "loss: brier, window: 1d", "lossy: brier", "12: monitor.trigger.lossy: no such key; allowed here are closes, delta",
    ),
    "an unknown key of a feature": (
        "max_age: 4h", "maxage: 4h", "7: features.risk.maxage: no such key; allowed here are entity, field, max_age",
    ),
    "a key that is missing": ("owner: shop-team\n", "", "1: owner: is needed"),
    "an unknown feature in the segments": (
        "segments: [country]", "segments: [contry]",
        "8: segments name unknown features ['contry']; declared are ['amount', 'country', 'risk']",
    ),
    "an unknown feature in the gate": (
        "  slices: [country]", "  slices: [shop]", "14: gate.slices name unknown features ['shop']; declared are ['amount'",
    ),
    "a bad duration": (
        "- 14d", "- two weeks", "18: rollout.look_after.1: 'two weeks' is no duration: write a number and one of s, m, h, d",
    ),
    "looks that are not in order": ("- 14d", "- 3d", "15: rollout: `look_after` needs at least one duration, in growing order"),
    "a view without its entity": (
        "entity: shop, ", "", "7: features.risk: a feature from a view names both `view` and `entity`",
    ),
    "an unknown type of feature": ("amount: number", "amount: float", "5: features.amount.type: Input should be 'number'"),
    "an unknown task": ("task: binary", "task: guess", "3: task: Input should be 'binary', 'multiclass' or 'regression'"),
    "a key that stands twice": ("task: binary\n", "task: binary\nmodel: theft\n", "4: model stands twice"),
    "bad YAML": ("segments: [country]", "segments: [country", "9: no YAML: expected ',' or ']'"),
    "neither model nor view": ("model: fraud\n", "", "1: a document starts with `model:` or `view:`; given keys are"),
}  # fmt: skip


def test_a_sound_document_is_said_to_be_sound(tmp_path: Path) -> None:
    file = tmp_path / "fraud.yaml"
    file.write_text(SOUND)
    assert driftloop("model", "check", str(file)) == (0, f"{file}: fraud is sound\n", "")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_line_what_was_given_and_what_is_allowed(mistake: str, tmp_path: Path) -> None:
    right, wrong, told = MISTAKES[mistake]
    assert right in SOUND
    file = tmp_path / "fraud.yaml"
    file.write_text(SOUND.replace(right, wrong))
    code, said, complained = driftloop("model", "check", str(file))
    assert (code, said) == (1, "")
    assert f"{file}:{told}" in complained


def test_every_mistake_of_every_document_is_told_at_once(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(SOUND)
    bad.write_text(
        "view: shops\nentity: shop\nfeatures: {risk: number}\n---\nview: planes\nentity: tail\nfeatures: {}\ncolour: red\n"
    )
    code, _, complained = driftloop("model", "check", str(good), str(bad))
    assert code == 1
    assert f"{bad}:7: features: " in complained
    assert f"{bad}:8: colour: no such key; allowed here are entity, features, push_source, ttl, view" in complained


@pytest.mark.parametrize("content", ["", "# nothing\n", "- model\n", "just text\n"])
def test_a_file_without_a_document_is_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text(content)
    code, _, complained = driftloop("model", "check", str(file))
    assert code == 1
    assert "holds no document that starts with `model:` or `view:`" in complained


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "binary.yaml"
    file.write_bytes(b"model: \xff\xfe\x00")
    code, _, complained = driftloop("model", "check", str(file))
    assert code == 1
    assert f"{file}:1: no YAML" in complained


def test_a_file_that_is_not_there_is_a_mistake_of_the_command_line(tmp_path: Path) -> None:
    code, _, complained = driftloop("model", "check", str(tmp_path / "none.yaml"))
    assert code == 2
    assert "does not exist" in complained
