"""Every folder and every event has somebody who is asked, and an event has the owner of its topic."""

from __future__ import annotations

import pytest
from tree import EVERYTHING, ROOT

from driftloop_contracts.topics import FACTS, TOPICS

CONTRACTS = "@driftloop/contracts"


@pytest.fixture(scope="module")
def lines() -> dict[str, set[str]]:
    """Pattern to owners, in the order of the file."""
    words = [line.split() for line in (ROOT / "CODEOWNERS").read_text().splitlines()]
    return {line[0]: set(line[1:]) for line in words if line and not line[0].startswith("#")}


def owners(lines: dict[str, set[str]], path: str) -> set[str]:
    """Of the last line that fits."""
    return [who for pattern, who in lines.items() if pattern == "*" or path.startswith(pattern)][-1]


def writers(kind: str) -> set[str]:
    """The teams of the services that own the event's topics."""
    services = {topic.owner for topic in TOPICS if FACTS[kind] in topic.events} - {"outside"}
    return {f"@driftloop/{service.replace('_', '-')}" for service in services}


def test_every_package_has_a_line_of_its_own(lines: dict[str, set[str]]) -> None:
    folders = [str(source.parents[1].relative_to(ROOT)) for source in EVERYTHING]
    everybodys = lines["*"]
    assert [folder for folder in folders if not owners(lines, f"/{folder}/")] == []
    services = [folder for folder in folders if folder.startswith("services/")]
    assert [folder for folder in services if owners(lines, f"/{folder}/") == everybodys] == []


def test_an_event_is_owned_by_the_contracts_and_the_writer_of_its_topic(lines: dict[str, set[str]]) -> None:
    expected = {kind: {CONTRACTS} | writers(kind) for kind in FACTS}
    assert {kind: owners(lines, f"/contracts/schemas/{kind}.json") for kind in FACTS} == expected


def test_every_line_names_something_that_exists(lines: dict[str, set[str]]) -> None:
    assert [pattern for pattern in lines if pattern != "*" and not (ROOT / pattern.strip("/")).exists()] == []
