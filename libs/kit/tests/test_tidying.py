"""What a service keeps to do things once does not grow for ever."""

from __future__ import annotations

import pytest

from driftloop_contracts.topics import DEPLOYMENTS, RETRAINING, dead_letter_topics
from driftloop_kit.database import Database
from driftloop_kit.ledger import PostgresLedger
from driftloop_kit.tidying import KEPT_DAYS, ROWS, inbox_days, tidy

SERVICE = "monitor"
OLD = f"now() - interval '{inbox_days(SERVICE) + 1} days'"
YOUNG = f"now() - interval '{KEPT_DAYS - 1} days'"


async def done(database: Database, *statements: str) -> None:
    async with database.door() as connection:
        for statement in statements:
            await connection.execute(statement)


async def names(database: Database, question: str) -> list[str]:
    async with database.door() as connection:
        return [row[0] for row in await connection.fetch(question)]


async def test_old_ids_go_however_many_came_since_the_last_round(database: Database, ledger: PostgresLedger) -> None:
    many = 2 * ROWS + 1
    await done(
        database,
        f"INSERT INTO inbox (event_id, seen_at) SELECT 'old ' || n, {OLD} FROM generate_series(1, {many}) AS n",
        f"INSERT INTO inbox (event_id, seen_at) VALUES ('young', {YOUNG})",
    )
    assert await tidy(SERVICE, ledger) == many
    assert await names(database, "SELECT event_id FROM inbox") == ["young"]


async def test_published_rows_go_but_for_those_that_are_the_state_itself(
    database: Database, ledger: PostgresLedger
) -> None:
    insert = "INSERT INTO outbox (topic, value, headers, published_at) VALUES"
    await done(
        database,
        f"{insert} ('{RETRAINING.name}', 'sent', '[]', {OLD}), ('{RETRAINING.name}', 'sent lately', '[]', {YOUNG})",
        f"{insert} ('{RETRAINING.name}', 'waits', '[]', NULL), ('{DEPLOYMENTS.name}', 'state', '[]', {OLD})",
    )
    assert await tidy(SERVICE, ledger) == 1
    kept = await names(database, "SELECT convert_from(value, 'utf8') FROM outbox ORDER BY id")
    assert kept == ["sent lately", "waits", "state"]


async def test_ended_jobs_go_and_those_that_have_not_ended_stay(database: Database, ledger: PostgresLedger) -> None:
    insert = "INSERT INTO job (id, kind, payload, created_at, ended_at) VALUES"
    await done(
        database,
        f"{insert} ('ended', 'k', '{{}}', {OLD}, {OLD}), ('lately', 'k', '{{}}', {OLD}, {YOUNG})",
        f"{insert} ('waits', 'k', '{{}}', {OLD}, NULL)",
    )
    assert await tidy(SERVICE, ledger) == 1
    assert await names(database, "SELECT id FROM job ORDER BY id") == ["lately", "waits"]


@pytest.mark.parametrize("group", sorted({name.split(".")[-2] for name in dead_letter_topics()}))
def test_an_id_is_remembered_longer_than_a_letter_with_it_may_lie(group: str) -> None:
    """Kafka drops whole segments, of a week each: a letter of 14 days may lie a week longer, and be redriven then."""
    kept_days = max(int(config["retention.ms"]) / 86_400_000 for config in dead_letter_topics().values())
    assert inbox_days(group) >= kept_days + 7
