"""Whether today's code says and remembers of a recording what was said and remembered then."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.compatibility.golden import dump
from tests.compatibility.golden.replay import comparable, replay, written
from tests.compatibility.golden.state import Table, state_of

from driftloop_bus.ports import Record


@dataclass(frozen=True, slots=True)
class Found:
    """What a service made of a recording."""

    records: int
    """Which it heard and said, then."""
    ids: int
    """Of events that it said then."""
    differences: list[str]


async def checked(name: str, release: Path, url: str, scratch: Path) -> Found:
    """The service's emitted ids and its state, held to the release's.

    url: an empty database of the service. scratch: an empty folder.
    """
    records = dump.read(release)
    shutil.copytree(release / "artifacts", scratch / "artifacts")
    heard = await replay(name, records, url, scratch)
    told = {topic: comparable(topic, of(records, topic)) for topic in written(name)}
    differences = [
        f"{topic}: {word} {sorted(which)[:3]}, {len(which)} of {len(then)}"
        for topic, then in told.items()
        for word, which in _apart(then, heard.said(topic)).items()
        if which
    ]
    then = {table: Table(**kept) for table, kept in json.loads((release / "recorded.json").read_text())[name].items()}
    now = await state_of(url, then)
    differences += [
        f"{name}.{table}: {kept.digest} then, {now[table].digest if table in now else 'no such table'} now"
        for table, kept in then.items()
        if table not in now or now[table].digest != kept.digest
    ]
    return Found(len(records), sum(len(said) for said in told.values()), differences)


def of(records: list[Record], topic: str) -> list[Record]:
    """The records of one topic."""
    return [record for record in records if record.topic == topic]


def _apart(then: dict[str, str], now: dict[str, str]) -> dict[str, set[str]]:
    return {
        "not said any more:": then.keys() - now.keys(),
        "not said then:": now.keys() - then.keys(),
        "says something else:": {one for one in then.keys() & now.keys() if then[one] != now[one]},
    }
