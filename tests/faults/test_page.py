"""The page says of every check what the plan says, and names nothing that is not there."""

from __future__ import annotations

from pathlib import Path

from tests.faults.checks import CHECKS

PAGE = Path(__file__).with_name("README.md")


def test_the_page_has_the_row_of_each_check_in_the_order_of_the_plan() -> None:
    cells = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.read_text().splitlines() if "| `" in line
    ]
    rows = [tuple(row[:4]) for row in cells if len(row) == 5]
    assert rows == [(check.id, f"`{check.file}`", check.must, str(check.points)) for check in CHECKS]
    assert all(row[4] for row in cells if len(row) == 5)
