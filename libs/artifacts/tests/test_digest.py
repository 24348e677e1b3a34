"""The only way to a key leads through a checked digest."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftloop_artifacts import BadDigest, Digest

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_digest_is_the_sha256_of_the_bytes() -> None:
    assert Digest.of(b"") == EMPTY


def test_a_digest_travels_as_plain_text() -> None:
    assert Digest(json.loads(json.dumps(Digest.of(b"")))) == EMPTY


def test_the_key_is_made_of_hex_digits_alone() -> None:
    assert Digest(EMPTY).key == f"sha256/e3/{EMPTY[7:]}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        "../../etc/passwd",
        "sha256:../../../../etc/passwd",
        EMPTY[7:],
        EMPTY.upper(),
        EMPTY + "/..",
        EMPTY + "\n",
        "\n" + EMPTY,
        EMPTY[:-1],
        EMPTY.replace("e3", "%2e", 1),
        "sha512:" + EMPTY[7:],
        "sha256:" + "٣" * 64,  # Arabic digits are digits to str.isdigit
        "s3://elsewhere/" + EMPTY[7:],
    ],
)
def test_nothing_else_is_a_digest(text: str) -> None:
    with pytest.raises(BadDigest, match="64 lower-case hex digits"):
        Digest(text)


@given(st.text())
def test_no_text_makes_a_key_that_leaves_its_folder(text: str) -> None:
    try:
        key = Digest(text).key
    except BadDigest:
        return
    assert set(key.removeprefix("sha256/").replace("/", "", 1)) <= set("0123456789abcdef")


def test_a_refusal_does_not_repeat_a_long_text_whole() -> None:
    with pytest.raises(BadDigest) as refusal:
        Digest("x" * 1_000_000)
    assert len(str(refusal.value)) < 200
