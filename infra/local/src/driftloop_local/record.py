"""`stack.json`: what runs, where it answers, since when. Written by the supervisor, read by everybody else."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from driftloop_local.children import Identity, is_alive
from driftloop_local.home import Home, write_private_json

State = Literal[
    "waiting",
    "starting",
    "ready",
    "not ready",
    "restarting",
    "crash loop",
    "held",
    "failed",
    "done",
    "external",
    "stopped",
]


@dataclass(frozen=True)
class PartStatus:
    """One part as of `since`, the time (UTC) of its last change of state."""

    name: str
    state: State
    since: str
    address: str | None = None
    pid: int | None = None
    pid_started: float | None = None
    restarts: int = 0
    reason: str | None = None
    log: str | None = None

    @property
    def identity(self) -> Identity | None:
        return None if self.pid is None or self.pid_started is None else Identity(self.pid, self.pid_started)

    @property
    def is_up(self) -> bool:
        return self.state in ("ready", "done", "external")


@dataclass(frozen=True)
class Record:
    """A stack as its supervisor last wrote it down."""

    supervisor: Identity | None = None
    kafka: str | None = None
    postgres: str | None = None
    artifacts: str | None = None
    history: str | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    parts: Mapping[str, PartStatus] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    """Services whose package is not installed here."""

    @property
    def is_running(self) -> bool:
        return self.supervisor is not None and is_alive(self.supervisor)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Record":
        supervisor = content.pop("supervisor")
        parts = content.pop("parts")
        missing = content.pop("missing")
        return cls(
            **content,
            supervisor=None if supervisor is None else Identity(**supervisor),
            parts={name: PartStatus(**part) for name, part in parts.items()},
            missing=tuple(missing),
        )


def read_record(home: Home) -> Record:
    """The last one written; an empty one where no stack has ever been."""
    if not home.record.exists():
        return Record()
    return Record.from_json(json.loads(home.record.read_text(encoding="utf-8")))


class Board:
    """The supervisor's own record, on disk after every change."""

    def __init__(self, home: Home, record: Record) -> None:
        self._home = home
        self._changed = asyncio.Event()
        self.record = record
        self._save()

    def tell(self, part: str, state: State, **facts: Any) -> None:
        """The part is in this state from now on; facts not named stay as they were, the reason is forgotten."""
        before = self.record.parts.get(part) or PartStatus(part, "waiting", now(), log=str(self._home.log(part)))
        since = before.since if before.state == state else now()
        after = replace(before, state=state, **({"reason": None, "since": since} | facts))
        if after != before or part not in self.record.parts:
            self.change(parts={**self.record.parts, part: after})

    def change(self, **facts: Any) -> None:
        self.record = replace(self.record, **facts)
        self._save()

    async def until(self, is_so: Callable[[Record], bool]) -> None:
        """Returns once the record is so."""
        while not is_so(self.record):
            self._changed.clear()
            await self._changed.wait()

    def _save(self) -> None:
        self._changed.set()
        write_private_json(self._home.record, self.record.to_json())


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
