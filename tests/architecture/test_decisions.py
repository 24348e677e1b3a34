"""Every decision stands on one page and says how it could be broken."""

from __future__ import annotations

import re

from tree import ROOT

DECISIONS = sorted((ROOT / "infra" / "decisions").glob("[0-9]*.md"))
HEADINGS = ["Context", "Choice", "Consequences", "A change violates this when it"]
# At 132 characters a line this is a printed page.
MOST_LINES = 45


def test_decisions_are_numbered_without_a_gap() -> None:
    assert len(DECISIONS) >= 13
    assert [path.name[:5] for path in DECISIONS] == [f"{number:04}-" for number in range(1, len(DECISIONS) + 1)]


def test_each_has_its_number_a_title_and_the_four_parts_on_one_page() -> None:
    for path in DECISIONS:
        text = path.read_text()
        assert text.startswith(f"# {path.name[:4]} "), path
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS, path
        assert len(text.splitlines()) <= MOST_LINES, path


def test_a_decision_that_another_refers_to_exists() -> None:
    numbers = {path.name[:4] for path in DECISIONS}
    for path in DECISIONS:
        assert set(re.findall(r"\((\d{4})\)", path.read_text())) <= numbers, path
