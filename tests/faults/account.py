"""What each client tried and what it was told, on disk before it goes on: the other side of every claim that nothing is lost."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, Self

State = Literal["attempt", "ok", "fail", "indefinite"]
# Of two lines about one id the stronger one holds: whoever was told "ok" once may rely on it.
_STRENGTH: Final[dict[str, int]] = {"attempt": 0, "indefinite": 1, "fail": 2, "ok": 3}


@dataclass(frozen=True, slots=True)
class Line:
    """One moment of one attempt. `seq` grows with each attempt of a client at a key."""

    t: float
    client: str
    key: str
    seq: int
    id: str
    state: State


class Refused(Exception):
    """A client was told no: nothing must have happened."""


class Unanswered(Exception):
    """A client heard nothing, or not whether: it may have happened."""


class Account:
    """Appends lines to one file, each synced to the disk. Any thread may write."""

    def __init__(self, path: Path, *, synced: bool = True) -> None:
        """synced: not where hundreds a second are written by one who outlives whatever is killed."""
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._synced = synced
        self.path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended: object) -> None:
        os.close(self._file)

    @contextmanager
    def attempt(self, client: str, key: str, seq: int, what: str) -> Iterator[None]:
        """The block asks for something: told ok when it ends, no when it raises Refused, nothing when it raises Unanswered.

        Neither goes further: what came of it stands in the file.
        """
        self._write(client, key, seq, what, "attempt")
        state: State = "indefinite"
        try:
            yield
            state = "ok"
        except Refused:
            state = "fail"
        except (Unanswered, OSError, TimeoutError):
            state = "indefinite"
        finally:
            self._write(client, key, seq, what, state)

    def write(self, told: Iterable[tuple[str, str, int, str, State]]) -> None:
        """(client, key, seq, id, state) of many attempts: one write, and one sync for all of them."""
        now = time.time()
        os.write(self._file, "".join(json.dumps(asdict(Line(now, *one))) + "\n" for one in told).encode())
        if self._synced:
            os.fdatasync(self._file)

    def _write(self, client: str, key: str, seq: int, what: str, state: State) -> None:
        self.write([(client, key, seq, what, state)])


def told(path: Path) -> list[Line]:
    """What was last known of each attempt, in the order of the attempts; those that were cut off are indefinite."""
    last: dict[str, Line] = {}
    for text in path.read_text().splitlines():
        line = Line(**json.loads(text))
        before = last.get(line.id)
        if before is None or _STRENGTH[line.state] >= _STRENGTH[before.state]:
            last[line.id] = line
    return list(last.values())


def longest_silence_ms(lines: Sequence[Line], since: float, until: float) -> float:
    """The longest time in [since, until] (seconds of `time.time`) in which nobody was told ok, in ms."""
    answered = sorted(line.t for line in lines if line.state == "ok" and since <= line.t <= until)
    moments = [since, *answered, until]
    return 1000 * max(later - earlier for earlier, later in pairwise(moments))
