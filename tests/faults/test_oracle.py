"""The judge beside real parts that are made to break their word: it must be seen to bite, and to leave those alone that keep it."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import asyncpg
import pytest
from tests.faults.account import Account, Unanswered, told
from tests.faults.noting import a_place, fetched
from tests.faults.repeating import repeat
from tests.faults.verdict import Effect, Verdict, judge

from driftloop_local.stack import LocalStack

pytestmark = pytest.mark.stack
CLIENTS: Final = 4
# Postgres flushes what it has acknowledged every 200 ms, if it is allowed to answer first: a kill may fall on such a moment.
KILLS: Final = 5
WRITES_S: Final = 1.0
# How asyncpg says that its connection is gone.
BROKEN: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
PROMISES: Final = "CREATE TABLE promise (place bigint GENERATED ALWAYS AS IDENTITY, id text, key text, seq bigint)"


def test_a_postgres_that_flushes_before_it_answers_is_judged_to_lose_nothing(stack: LocalStack, tmp_path: Path) -> None:
    verdict = killed_while_written(stack, tmp_path, "on")
    assert verdict.holds, verdict
    assert verdict.acked > 0


def test_a_postgres_that_answers_before_it_flushes_is_caught(stack: LocalStack, tmp_path: Path) -> None:
    verdicts = (killed_while_written(stack, tmp_path, "off") for _ in range(KILLS))
    lossy = next((verdict for verdict in verdicts if verdict.lost > 0), None)
    assert lossy is not None, f"{KILLS} kills of a Postgres with synchronous_commit=off, and no loss was seen"
    assert not lossy.holds
    assert lossy.lost < lossy.acked


def test_a_service_that_has_forgotten_what_it_heard_is_caught(stack: LocalStack, kafka: str, tmp_path: Path) -> None:
    place = a_place(stack, kafka, tmp_path)
    asyncio.run(fetched(place.database.owner_url, "ALTER TABLE inbox DROP CONSTRAINT inbox_pkey"))
    with Account(tmp_path / "account") as account:
        try:
            again = repeat(place, account, random.Random(1), rounds=6)
        finally:
            place.noter.kill()
    verdict = judge(told(account.path), [effect for effect, _ in place.effects()])
    assert not verdict.holds
    assert (verdict.lost, verdict.phantom) == (0, 0)
    # Of two that come in one batch the ledger itself tells the second.
    assert 0 < verdict.dup <= again


def killed_while_written(stack: LocalStack, folder: Path, synchronous_commit: Literal["on", "off"]) -> Verdict:
    """What is found after a kill of Postgres while clients write, each of them with this setting; Postgres is back."""
    name = f"oracle_{os.urandom(4).hex()}"
    database = stack.create_service_database(name)
    asyncio.run(fetched(database.owner_url, PROMISES))
    with Account(folder / name) as account:
        with writing(database.owner_url, account, synchronous_commit):
            time.sleep(WRITES_S)
            stack.kill("postgres")
        stack.wait_until_ready()
    rows = asyncio.run(fetched(database.owner_url, "SELECT key, id, seq FROM promise ORDER BY place"))
    return judge(told(account.path), [Effect(*row) for row in rows])


@contextmanager
def writing(url: str, account: Account, synchronous_commit: str) -> Iterator[None]:
    """Clients write and tell the account until their connection breaks; the block must break it."""

    async def all_of_them() -> None:
        await asyncio.gather(*(_write(url, account, f"client {one}", synchronous_commit) for one in range(CLIENTS)))

    thread = threading.Thread(target=lambda: asyncio.run(all_of_them()))
    thread.start()
    try:
        yield
    finally:
        thread.join()


async def _write(url: str, account: Account, client: str, synchronous_commit: str) -> None:
    connection = await asyncpg.connect(url, server_settings={"synchronous_commit": synchronous_commit})
    insert = await connection.prepare("INSERT INTO promise (id, key, seq) VALUES ($1, $2, $3)")
    broken = False
    for seq in itertools.count():
        with account.attempt(client, client, seq, f"{client}/{seq}"):
            try:
                await insert.fetch(f"{client}/{seq}", client, seq)
            except BROKEN as error:
                broken = True
                raise Unanswered(str(error)) from error
        if broken:
            return
