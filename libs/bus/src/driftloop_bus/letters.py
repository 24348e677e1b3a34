"""Dead letters, read back: what was parked and why, what became of it, and the record as it goes to its topic again.

Nothing here reads or writes. A letter that was redriven is followed, on its own topic, by a mark that names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from driftloop_bus import origin, parking
from driftloop_bus.errors import BadMessage, Position
from driftloop_bus.ports import Headers, Outgoing, Record
from driftloop_contracts.topics import BY_NAME, dead_letters

SUFFIX: Final = ".dead"
MARK: Final = "redriven_letter"
MARKED_AT: Final = "redriven_at"
MARKED_BY: Final = "redriven_by"

Newest = Mapping[tuple[str, int, bytes | None], Record]
"""The last record of each key of compacted topics, by topic, partition and key."""
Standing = Literal["waiting", "redriven", "superseded", "null", "gone"]
"""waiting: it can be redriven. superseded: a newer value stands on its compacted topic. null: it never had a value.
gone: it was parked by reference, and the log no longer holds it."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One parked record."""

    place: Position
    """Where the letter lies."""
    parked_at_ms: int
    original: Record
    """As it was: where it lay, its key, value and own headers. By reference the value is None."""
    about: Mapping[str, str]
    """Our headers, without their prefix: group, error, message, attempts, ..."""
    size_bytes: int
    """Of the value, also where it was left out."""
    redriven_at: str | None = None

    @property
    def name(self) -> str:
        """What people call it by: `commands.v1.registry.dead:0:17`."""
        return f"{self.place.topic}:{self.place.partition}:{self.place.offset}"

    @property
    def event_id(self) -> str | None:
        """The id that its producer gave it."""
        given = dict(self.original.headers).get("ce_id")
        return given.decode(errors="replace") if given else None

    @property
    def by_reference(self) -> bool:
        """Whether the value must be read where the original lies."""
        return "by_reference" in self.about

    def answers_to(self, word: str) -> bool:
        """Whether a person's word means it: PARTITION:OFFSET, OFFSET (of partition 0), its name, or the event's id."""
        short = f"{self.place.partition}:{self.place.offset}"
        return word in (short, self.name, self.event_id) or f"0:{word}" == short

    def emptied(self) -> Letter:
        """Without its value: many are listed at once."""
        return replace(self, original=replace(self.original, value=None))


@dataclass(frozen=True, slots=True)
class Mark:
    """Says that a letter was redriven."""

    letter: tuple[int, int]
    """Partition and offset."""
    at: str


def read(record: Record) -> Letter | Mark:
    """What lies on a dead-letter topic. Raises BadMessage for what is neither letter nor mark."""
    names = [name for name, _ in record.headers]
    try:
        if parking.TOPIC in names:
            return _letter(record, len(names) - 1 - names[::-1].index(parking.TOPIC))
        if MARK in names:
            given = dict(record.headers)
            partition, offset = given[MARK].decode().split(":")[-2:]
            return Mark((int(partition), int(offset)), given.get(MARKED_AT, b"").decode())
    except (KeyError, ValueError) as error:
        raise BadMessage(f"an odd letter: {error}", at=record.position) from error
    raise BadMessage("no letter: it does not say where it came from", at=record.position)


def _letter(record: Record, ours: int) -> Letter:
    # Ours stand last, so a record that brought such names itself can't say where it came from.
    about = {name.removeprefix("dead_"): value.decode(errors="replace") for name, value in record.headers[ours:]}
    topic, group = about["topic"], about["group"]
    if record.topic != dead_letters(topic, group):
        raise BadMessage(f"it says it came from {topic} to {group}, and lies on {record.topic}", at=record.position)
    nothing = "null" in about or "by_reference" in about
    original = Record(
        topic, int(about["partition"]), int(about["offset"]), int(about["timestamp_ms"]), record.key,
        None if nothing else record.value, tuple(record.headers[:ours]),
    )  # fmt: skip
    return Letter(record.position, record.timestamp_ms, original, about, len(record.value or b""))


def standing(letter: Letter, newest: Newest, *, again: bool) -> Standing:
    """Whether it can be redriven, or why not.

    A state that a newer one replaced must not stand last on its topic again: compaction would leave it alone there, and
    who starts later would believe it.
    """
    last = newest.get((letter.original.topic, letter.original.partition, letter.original.key))
    if letter.redriven_at is not None and not again:
        return "redriven"
    if "null" in letter.about:
        return "null"
    if last is not None and last.offset > letter.original.offset and not _came_from(last, letter):
        return "superseded"
    return "waiting"


def _came_from(record: Record, letter: Letter) -> bool:
    return dict(record.headers).get(origin.LETTER) == letter.name.encode()


def is_compacted(letter: Letter) -> bool:
    """Whether its topic keeps the last value of a key alone."""
    topic = BY_NAME.get(letter.original.topic)
    return topic is not None and topic.cleanup == "compact"


def again(letter: Letter) -> Outgoing:
    """The original record for its own topic and partition: key, value and headers untouched, and ours after them.

    They name the letter, and the original's first place and time: redriven it stands behind newer records.
    Raises ValueError when the letter holds no value.
    """
    record = letter.original
    if record.value is None:
        raise ValueError(f"{letter.name} holds no value")
    first = origin.first_position(record)
    ours = {
        origin.LETTER: letter.name,
        origin.PARTITION: str(first.partition),
        origin.OFFSET: str(first.offset),
        origin.TIMESTAMP_MS: str(origin.first_logged_ms(record)),
    }
    return Outgoing(record.topic, record.key, record.value, _own(record.headers) + _encoded(ours), record.partition)


def _own(headers: Headers) -> Headers:
    """Without what an earlier redriving said: a record may be parked twice."""
    return tuple((name, value) for name, value in headers if not name.startswith(origin.REDRIVEN))


def mark(letter: Letter, at: str, by: str) -> Outgoing:
    """What lies on the letter's topic once it was redriven."""
    place, said = letter.place, {MARK: letter.name, MARKED_AT: at, MARKED_BY: by}
    return Outgoing(place.topic, letter.original.key, b"", _encoded(said), place.partition)


def marked(letters: Iterable[Letter], marks: Mapping[Position, Mark]) -> list[Letter]:
    """The letters, those that were redriven saying so. marks: by where the letter lies."""
    return [replace(one, redriven_at=marks[one.place].at) if one.place in marks else one for one in letters]


def _encoded(said: Mapping[str, str]) -> Headers:
    return tuple((name, text.encode()) for name, text in said.items())
